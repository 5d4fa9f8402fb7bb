/**
 * How every node stands, derived from the feed of events: a pure function from status and event to status. The same
 * events give the same status, whether they are live or read back from the journal.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { STATUS_FILES_MAX } from "../limits.ts";
import type { ClusterProblem } from "./cluster-problem.ts";
import { afterConfigured, afterConfigureFailed, type ConfiguredState, unconfigured } from "./configured.ts";
import type { StorageReport } from "./container-storage.ts";
import { type BootEvent, isUp, STAGES, type Stage } from "./event.ts";
import type { SettingReport } from "./setting-report.ts";
import { type UnknownPi, withoutUnknownPi, withUnknownPi } from "./unknown-pis.ts";

/** One file on its way to a node, or there. */
export interface FileTransfer {
  path: string;
  startedMs: number;
  sentBytes: number;
  sizeBytes: number;
  /** Absent while it runs. */
  completeMs?: number;
}

/** One boot, from the first sign to `up` (or to the next first sign). Times are milliseconds since 1970 UTC. */
export interface BootRun {
  startedMs: number;
  /** When each stage was reached; stages that left no trace are absent. */
  reachedMs: Partial<Record<Stage, number>>;
  transfers: FileTransfer[];
  /** TFTP bytes of complete transfers. */
  sentBytes: number;
  retransmits: number;
  dhcpAttempts: number;
  bootId?: string;
}

export interface NodeStatus extends ConfiguredState {
  node: string;
  stage: Stage;
  stageSinceMs: number;
  /** The last event about the node, whatever it was. */
  lastSeenMs: number;
  mac?: Mac;
  serial?: string;
  model?: string;
  address?: Ipv4;
  /** The boot under way, or the one that led to where the node is. */
  boot?: BootRun;
  /** The last one that reached `up` before that. */
  previousBoot?: BootRun;
  bootsCompleted: number;
  /** It has got files of another time or node since it last was `up`: a report in its root may be of those. */
  hasOtherFiles?: boolean;
  lastProblem?: { unixMs: number; message: string };
  /** Of this boot. */
  containerStorage?: StorageReport;
  /** It was a member of the cluster at some time, and has its files of then. */
  hasJoined?: boolean;
  /** What is being done about it for the cluster. */
  clusterStep?: { title: string; sinceMs: number };
  settings?: readonly SettingReport[];
  /** It is up and does not answer: since when nothing was heard of it. */
  noAnswerSinceMs?: number;
}

export interface ClusterStatus {
  nodes: ReadonlyMap<string, NodeStatus>;
  unknownPis: ReadonlyMap<Mac, UnknownPi>;
  /** What stands in the way of the cluster that an orchestrator makes. */
  clusterProblems: readonly ClusterProblem[];
  /** The last event that is counted in. */
  sequence: number;
}

export const INITIAL_STATUS: ClusterStatus = {
  nodes: new Map(),
  unknownPis: new Map(),
  clusterProblems: [],
  sequence: 0,
};

export function nextStatus(status: ClusterStatus, event: BootEvent): ClusterStatus {
  const { sequence } = event;
  if (event.kind === "unknown-pi") return { ...status, sequence, unknownPis: withUnknownPi(status.unknownPis, event) };
  if (event.kind === "cluster-problems") return { ...status, sequence, clusterProblems: event.problems };
  // A manager that was killed ended none of them.
  if (event.kind === "manager-started") return { ...status, sequence, nodes: withoutSteps(status.nodes) };
  // Of lines that nodes print there are hundreds a boot, and they say nothing here.
  if (event.node === undefined || event.kind === "console-line") return { ...status, sequence };
  const node = nextNodeStatus(status.nodes.get(event.node) ?? silentNode(event.node, event.unixMs), event);
  const { unknownPis } = status;
  return {
    ...status,
    sequence,
    nodes: new Map(status.nodes).set(event.node, node),
    // Once it has a node it is a stranger no more. What a node was known by before may be a board that was replaced.
    unknownPis: "mac" in event && unknownPis.has(event.mac) ? withoutUnknownPi(unknownPis, event.mac) : unknownPis,
  };
}

/** Up, and has not fallen silent since. */
export function isReachable(status: Pick<NodeStatus, "stage" | "noAnswerSinceMs"> | undefined): boolean {
  return isUp(status?.stage) && status?.noAnswerSinceMs === undefined;
}

/** How a node of the manifest stands that has not been heard of. */
export function silentNode(node: string, unixMs: number): NodeStatus {
  return { node, stage: "silent", stageSinceMs: unixMs, lastSeenMs: unixMs, bootsCompleted: 0 };
}

/** What the manager says of a node, and not the node by what it does. */
const NO_SIGNS_OF_LIFE: ReadonlySet<BootEvent["kind"]> = new Set(["diagnosis", "diagnosis-cleared", "planned"]);

export function nextNodeStatus(before: NodeStatus, event: BootEvent): NodeStatus {
  if (NO_SIGNS_OF_LIFE.has(event.kind)) return before;
  const now = event.unixMs;
  if (event.kind === "no-answer") return isUp(before.stage) ? { ...before, noAnswerSinceMs: event.sinceMs } : before;
  if (event.kind === "step-begun") return { ...before, clusterStep: { title: event.title, sinceMs: now } };
  if (event.kind === "step-done" || event.kind === "step-failed") return withoutStep(before);
  const status = { ...before, lastSeenMs: now };
  switch (event.kind) {
    case "dhcp-request":
      return afterDhcp(withIdentity(status, event), event);
    case "dhcp-reply":
      return event.address === undefined ? status : { ...status, mac: event.mac, address: event.address };
    case "tftp-request":
      return afterTftp(status, event, (boot) => boot);
    case "tftp-progress":
    case "tftp-complete":
      return afterTransfer(status, event);
    case "mount":
      return event.tree === "root" ? reach({ ...status, address: event.client }, "root", now) : status;
    case "root-activity":
      // A node that shuts down works on its root for a while.
      return isUp(status.stage) || isShutDown(status) ? status : reach(status, "root", now);
    case "up":
      return afterUp(status, event);
    case "joined":
      return status.boot?.bootId === event.bootId ? { ...reach(status, "joined", now), hasJoined: true } : status;
    case "left":
      return afterLeft(status, now);
    case "reset":
      return { ...unconfigured(status), hasJoined: false };
    case "storage-tried": {
      const { state, freeKiB, sizeKiB } = event;
      const sizes = freeKiB === undefined || sizeKiB === undefined ? {} : { freeKiB, sizeKiB };
      return { ...status, containerStorage: { state, ...sizes } };
    }
    case "configured":
      return afterConfigured(status, event);
    case "configure-failed":
      // That it could not be reached is no sign of its life.
      return afterConfigureFailed(before, event);
    case "settings-made":
      return { ...status, settings: event.settings };
    case "answers-again":
      return answering(status);
    case "shutdown-seen":
      return { ...answering(status), stage: "silent", stageSinceMs: now };
    case "snapshot-restored":
    case "cloned":
      return { ...unconfigured(status), hasOtherFiles: true };
    case "tftp-failed":
    case "mount-refused":
      return { ...status, lastProblem: { unixMs: now, message: `${event.path}: ${event.reason}` } };
    case "dhcp-ignored":
      return { ...status, lastProblem: { unixMs: now, message: event.reason } };
    case "warning":
      return { ...status, lastProblem: { unixMs: now, message: event.message } };
    default:
      return status;
  }
}

type EventOf<Kind extends BootEvent["kind"]> = BootEvent & { kind: Kind };

/** A DISCOVER of the firmware says PXEClient. One of Linux does not, and means that the kernel runs. */
function afterDhcp(status: NodeStatus, event: EventOf<"dhcp-request">): NodeStatus {
  if (event.message !== "DISCOVER") return status;
  const isFirmware = event.vendorClass?.startsWith("PXEClient") ?? false;
  if (!isFirmware) return status.stage === "firmware" ? reach(status, "kernel", event.unixMs) : status;
  // The second stage of a Pi 3 asks again while its files are under way: that is the same boot.
  const started = status.stage === "dhcp" || status.stage === "firmware" ? status : begin(status, event.unixMs);
  const reached = reach(started, "dhcp", event.unixMs);
  return { ...reached, boot: { ...reached.boot!, dhcpAttempts: reached.boot!.dhcpAttempts + 1 } };
}

/** What a board asks for before anything else. Seen again, it means a new boot where DHCP is somebody else's. */
const FIRST_FILE = /(^|\/)(bootcode\.bin|start4?\.elf|config\.txt)$/;
export function isFirstBootFile(path: string): boolean {
  return FIRST_FILE.test(path);
}

/** Within one boot the firmware asks for its next file far sooner. */
const NEW_BOOT_PAUSE_MS = 15_000;

function afterTftp(
  before: NodeStatus,
  event: EventOf<"tftp-request" | "tftp-progress" | "tftp-complete">,
  change: (boot: BootRun) => BootRun,
): NodeStatus {
  const lastFileMs = Math.max(0, ...(before.boot?.transfers ?? []).map((file) => file.completeMs ?? file.startedMs));
  const isAgain = isFirstBootFile(event.path) && event.unixMs - lastFileMs > NEW_BOOT_PAUSE_MS;
  const isOver = before.stage === "silent" || ((before.stage === "root" || isUp(before.stage)) && isAgain);
  const started = isOver ? begin(before, event.unixMs) : before;
  const reached = reach({ ...started, address: event.client }, "firmware", event.unixMs);
  return reached.boot ? { ...reached, boot: change(reached.boot) } : reached;
}

const KERNEL_FILE = /(^|\/)(kernel[^/]*\.img|vmlinuz[^/]*|Image[^/]*|zImage[^/]*)$/;

function afterTransfer(before: NodeStatus, event: EventOf<"tftp-progress" | "tftp-complete">): NodeStatus {
  const now = event.unixMs;
  const complete = event.kind === "tftp-complete";
  const sentBytes = complete ? event.sizeBytes : event.sentBytes;
  const status = afterTftp(before, event, (boot) => {
    const others = boot.transfers.filter((file) => file.path !== event.path || file.completeMs !== undefined);
    const running = boot.transfers.find((file) => file.path === event.path && file.completeMs === undefined);
    const startedMs = running?.startedMs ?? (complete ? now - event.durationMs : now);
    const transfer = {
      path: event.path,
      startedMs,
      sentBytes,
      sizeBytes: event.sizeBytes,
      ...(complete && { completeMs: now }),
    };
    return {
      ...boot,
      transfers: [...others, transfer].slice(-STATUS_FILES_MAX),
      sentBytes: boot.sentBytes + (complete ? sentBytes : 0),
      retransmits: boot.retransmits + (complete ? event.retransmits : 0),
    };
  });
  return complete && KERNEL_FILE.test(event.path) ? reach(status, "kernel", now) : status;
}

function afterUp(status: NodeStatus, event: EventOf<"up">): NodeStatus {
  if (isUp(status.stage) && status.boot?.bootId === event.bootId) return status;
  // The manager started late, or nothing was seen of the way here.
  const started = status.boot && !isUp(status.stage) ? status : begin(status, event.unixMs);
  const reached = reach(started, "up", event.unixMs);
  const boot = { ...reached.boot!, bootId: event.bootId };
  return { ...reached, bootsCompleted: status.bootsCompleted + 1, boot, hasOtherFiles: false };
}

function begin(status: NodeStatus, unixMs: number): NodeStatus {
  const { containerStorage, settings, ...rest } = answering(status);
  const { boot } = rest;
  const boots = boot?.reachedMs.up === undefined ? {} : { previousBoot: boot };
  return {
    ...rest,
    ...boots,
    stage: "silent",
    stageSinceMs: unixMs,
    boot: { startedMs: unixMs, reachedMs: {}, transfers: [], sentBytes: 0, retransmits: 0, dhcpAttempts: 0 },
  };
}

/** Silent with a boot behind it, and none begun. */
function isShutDown({ stage, boot }: NodeStatus): boolean {
  return stage === "silent" && boot !== undefined && Object.keys(boot.reachedMs).length > 0;
}

function afterLeft(status: NodeStatus, unixMs: number): NodeStatus {
  if (status.stage !== "joined" || !status.boot) return status;
  const { joined: _, ...reachedMs } = status.boot.reachedMs;
  return { ...status, stage: "up", stageSinceMs: unixMs, boot: { ...status.boot, reachedMs } };
}

function answering(status: NodeStatus): NodeStatus {
  const { noAnswerSinceMs: _, ...rest } = status;
  return rest;
}

function withoutStep(status: NodeStatus): NodeStatus {
  const { clusterStep: _, ...rest } = status;
  return rest;
}

function withoutSteps(nodes: ReadonlyMap<string, NodeStatus>): ReadonlyMap<string, NodeStatus> {
  return new Map(Array.from(nodes, ([name, status]) => [name, withoutStep(status)]));
}

/** A boot only goes forward: files fetched after the kernel do not take it back. */
function reach(status: NodeStatus, stage: Stage, unixMs: number): NodeStatus {
  const started = status.boot && !isShutDown(status) ? status : begin(status, unixMs);
  if (STAGES.indexOf(stage) <= STAGES.indexOf(started.stage)) return started;
  const boot = { ...started.boot!, reachedMs: { ...started.boot!.reachedMs, [stage]: unixMs } };
  return { ...started, stage, stageSinceMs: unixMs, boot };
}

function withIdentity(status: NodeStatus, event: EventOf<"dhcp-request">): NodeStatus {
  return {
    ...status,
    mac: event.mac,
    ...(event.serial && { serial: event.serial }),
    ...(event.model && { model: event.model }),
  };
}
