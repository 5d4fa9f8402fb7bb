/** One event about a node, added to what is known of it. */
import { STATUS_FILES_MAX } from "../../limits.ts";
import { type BootEvent, isUp } from "../event.ts";
import { nextNodeStatus } from "../status.ts";
import {
  type Asking,
  type Attempt,
  type FileFact,
  type NodeFacts,
  newAsking,
  newAttempt,
  remember,
  tally,
} from "./facts.ts";

type EventOf<Kind extends BootEvent["kind"]> = BootEvent & { kind: Kind };

/** After such a silence a board that asks again was switched on anew: what it did before says nothing. */
const FORGOTTEN_MS = 10 * 60_000;
/** A Pi 3 in its second stage asks again a few seconds after bootcode.bin. */
const SECOND_STAGE_MS = 90_000;
const ACTIVITY_KEPT = 15;
const RESTARTS_KEPT = 32;
const BUSY_FILES_KEPT = 20;
const SERVERS_KEPT = 8;
const DEFAULT_BLOCK_BYTES = 512;
/** How long TFTP waits for a client in the middle of a file. */
const SILENCE_MS = 15_000;

export function takeNodeEvent(facts: NodeFacts, event: BootEvent): void {
  const before = facts.status;
  facts.status = nextNodeStatus(before, event);
  switch (event.kind) {
    case "dhcp-request":
      takeDhcpRequest(facts, event, before.stage);
      break;
    case "dhcp-reply":
      takeDhcpReply(facts, event);
      break;
    case "dhcp-ignored":
      takeIgnored(facts, event);
      break;
    case "dhcp-other-server":
      if (facts.asking) remember(facts.asking.others, event.server, event, SERVERS_KEPT);
      break;
    case "address-conflict":
      facts.declined = { address: event.address, ms: event.unixMs };
      break;
    case "tftp-request":
    case "tftp-missing":
    case "tftp-probed":
    case "tftp-progress":
    case "tftp-complete":
    case "tftp-failed":
      takeFile(facts, event);
      break;
    case "mount":
      if (event.tree === "root") facts.attempt.mountedMs ??= event.unixMs;
      facts.asking = undefined;
      break;
    case "mount-refused":
      takeMountRefused(facts.attempt, event);
      break;
    case "nfs-version-refused":
      facts.attempt.wrongVersion = { program: event.program, version: event.version, ms: event.unixMs };
      break;
    case "root-activity":
      takeActivity(facts, event);
      break;
    case "up":
      takeUp(facts, event.unixMs);
      break;
    case "shutdown-seen":
      facts.restarts = [];
      delete facts.lastAttempt;
      facts.asking = undefined;
      facts.attempt = newAttempt(event.unixMs);
      break;
    case "reset":
    case "cloned":
    case "snapshot-restored":
      facts.filesChangedMs = event.unixMs;
      break;
    case "planned":
      facts.plan = { problems: event.problems, warnings: event.warnings };
      break;
    case "warning":
      if (event.about) noteWarning(facts.warnings, event);
      break;
  }
}

export function noteWarning(warnings: NodeFacts["warnings"], event: EventOf<"warning">): void {
  if (event.about === undefined) return;
  const { message, unixMs } = event;
  warnings.set(event.about, tally(freshTally(warnings.get(event.about), unixMs), unixMs, { message }));
}

/** Counting begins anew after a quiet minute: two bad packets a day are no trouble. */
function freshTally<Kept extends { lastMs: number }>(before: Kept | undefined, unixMs: number): Kept | undefined {
  return before && unixMs - before.lastMs < 60_000 ? before : undefined;
}

function takeDhcpRequest(facts: NodeFacts, event: EventOf<"dhcp-request">, stage: NodeFacts["status"]["stage"]): void {
  facts.mac = event.mac;
  if (event.model) facts.model = event.model;
  const { unixMs } = event;
  if (event.message === "DECLINE") facts.declined = { address: event.address, ms: unixMs };
  const isFirmware = event.loader !== undefined || (event.vendorClass?.startsWith("PXEClient") ?? false);
  if (event.message === "DISCOVER" && isFirmware) {
    if (event.loader) facts.loader = event.loader;
    if (isNewAttempt(facts, event)) beginAttempt(facts, unixMs, stage);
    takeDiscover(facts, event);
  } else if (event.message === "DISCOVER") {
    const { linux } = facts.attempt;
    linux.discovers += 1;
    linux.firstMs ??= unixMs;
    linux.lastMs = unixMs;
  } else if (event.message === "REQUEST" && facts.asking && facts.attempt.lastFileMs === undefined) {
    // The bootcode.bin stage sends none: a REQUEST before the first file is an EEPROM's.
    facts.asking.requests += 1;
    facts.asking.requestMs = unixMs;
    if (event.server) facts.asking.requestedServer = event.server;
  }
}

/** The second stage of a Pi 3 asks again in the same boot; a DISCOVER after any other file begins a new one. */
function isNewAttempt({ attempt, loader, status }: NodeFacts, { unixMs }: BootEvent): boolean {
  if (attempt.lastFileMs === undefined)
    return status.boot?.startedMs === unixMs || unixMs - attempt.startedMs > FORGOTTEN_MS;
  const hasSecondStage = loader === "bootcode" && attempt.files.has("bootcode.bin") && !attempt.files.has("start.elf");
  return !(hasSecondStage && unixMs - attempt.lastFileMs < SECOND_STAGE_MS);
}

function beginAttempt(facts: NodeFacts, unixMs: number, stage: NodeFacts["status"]["stage"]): void {
  const { attempt } = facts;
  if (attempt.lastFileMs !== undefined && !isUp(stage) && stage !== "silent") {
    facts.restarts = [...facts.restarts, { ms: unixMs, stage }].slice(-RESTARTS_KEPT);
    facts.lastAttempt = { ...attempt, isOver: true };
  }
  facts.attempt = newAttempt(unixMs);
  facts.activity = [];
}

function takeDiscover(facts: NodeFacts, event: EventOf<"dhcp-request">): void {
  const { unixMs } = event;
  const known = facts.asking;
  const asking = known && unixMs - known.lastMs < FORGOTTEN_MS ? known : newAsking(unixMs);
  asking.discovers += 1;
  asking.lastMs = unixMs;
  if (asking.offers > 0) asking.discoversAfterOffer += 1;
  if (event.relay) asking.relay = event.relay;
  facts.asking = asking;
}

function takeDhcpReply({ asking, attempt }: NodeFacts, { message, unixMs }: EventOf<"dhcp-reply">): void {
  // What is answered to Linux comes after its DISCOVER.
  const counts: { offers: number; acks: number; ackMs?: number } | undefined =
    attempt.linux.discovers > 0 ? attempt.linux : asking;
  if (!counts) return;
  if (message === "OFFER") counts.offers += 1;
  if (message === "NAK" && asking) asking.naks += 1;
  if (message !== "ACK") return;
  counts.acks += 1;
  counts.ackMs = unixMs;
}

function takeIgnored(facts: NodeFacts, { cause, reason, unixMs }: EventOf<"dhcp-ignored">): void {
  if (cause === undefined) return;
  if (cause === "declined") facts.declined = { address: facts.declined?.address, ms: unixMs };
  facts.asking ??= newAsking(unixMs);
  facts.asking.ignored = { cause, reason, lastMs: unixMs };
}

/** `91cdf03d/` and `dc-a6-32-01-36-c2/` say whose file it is, not which. */
const BOARD_PREFIX = /^(?:[0-9a-f]{8}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5})\//i;

type FileEvent = EventOf<
  "tftp-request" | "tftp-missing" | "tftp-probed" | "tftp-progress" | "tftp-complete" | "tftp-failed"
>;

function takeFile(facts: NodeFacts, event: FileEvent): void {
  const { unixMs } = event;
  const name = event.path.replace(BOARD_PREFIX, "");
  if (isFirstFileOfNewBoot(facts, unixMs)) beginAttempt(facts, unixMs, facts.status.stage);
  const attempt = isOfLastAttempt(facts, name, event) ? facts.lastAttempt! : facts.attempt;
  const file: FileFact = attempt.files.get(name) ?? { path: event.path, requestedMs: unixMs, requests: 0, failures: 0 };
  remember(attempt.files, name, file, STATUS_FILES_MAX);
  switch (event.kind) {
    case "tftp-request":
      noteFileRequest(facts, name, file, event);
      break;
    case "tftp-missing":
      attempt.lastFileMs = unixMs;
      facts.asking = undefined;
      file.missing = { reason: event.reason, isRefused: event.isRefused ?? false, ms: unixMs };
      break;
    case "tftp-probed":
      file.sizeBytes = event.sizeBytes;
      break;
    case "tftp-progress":
      attempt.lastFileMs = unixMs;
      file.sizeBytes = event.sizeBytes;
      file.sentBytes = event.sentBytes;
      break;
    case "tftp-complete":
      noteFileComplete(attempt, name, file, event);
      break;
    case "tftp-failed":
      noteFileFailed(attempt, name, file, event);
  }
}

/** Where no DISCOVER is heard, `status` sees a new boot in the first file after a pause. */
function isFirstFileOfNewBoot({ status, attempt }: NodeFacts, unixMs: number): boolean {
  return status.boot?.startedMs === unixMs && attempt.startedMs !== unixMs && attempt.lastFileMs !== undefined;
}

/** A transfer that ends in silence, or because its port asks for something else, may be one of the boot before this one. */
function isOfLastAttempt({ attempt, lastAttempt }: NodeFacts, name: string, event: FileEvent): boolean {
  if (event.kind !== "tftp-failed" || !lastAttempt?.files.has(name)) return false;
  const { requestedMs = event.unixMs, sentBytes = 0 } = attempt.files.get(name) ?? {};
  return event.unixMs - requestedMs < SILENCE_MS && (event.cause === "silence" || (event.sentBytes ?? 0) > sentBytes);
}

function noteFileRequest(facts: NodeFacts, name: string, file: FileFact, event: EventOf<"tftp-request">): void {
  const { attempt } = facts;
  file.requestedMs = event.unixMs;
  file.requests += 1;
  if (event.blockBytes !== undefined) file.blockBytes = event.blockBytes;
  attempt.lastFileMs = event.unixMs;
  attempt.lastPath = event.path;
  if (name === "start.elf") attempt.bootcodeLoads = 0;
  facts.asking = undefined;
}

function noteFileComplete(
  attempt: Attempt,
  name: string,
  file: FileFact,
  {
    unixMs,
    durationMs,
    retransmits,
    sizeBytes,
  }: Pick<EventOf<"tftp-complete">, "unixMs" | "durationMs" | "retransmits" | "sizeBytes">,
): void {
  file.complete = { ms: unixMs, durationMs, retransmits };
  file.sizeBytes = sizeBytes;
  delete file.failed;
  attempt.lastFileMs = unixMs;
  attempt.sentBytes += sizeBytes;
  attempt.blocks += Math.floor(sizeBytes / (file.blockBytes ?? DEFAULT_BLOCK_BYTES)) + 1;
  attempt.retransmits += retransmits;
  if (name === "bootcode.bin") attempt.bootcodeLoads += 1;
}

function noteFileFailed(attempt: Attempt, name: string, file: FileFact, event: EventOf<"tftp-failed">): void {
  const { unixMs, reason, cause, sentBytes = 0, sizeBytes = 0, retransmits = 0 } = event;
  const blockBytes = event.blockBytes ?? file.blockBytes ?? DEFAULT_BLOCK_BYTES;
  // A board that has the last block may be gone before it says so, or its word is lost: it has the file.
  if (sentBytes > 0 && sizeBytes - sentBytes < blockBytes) {
    const durationMs = Math.max(0, unixMs - SILENCE_MS - file.requestedMs);
    noteFileComplete(attempt, name, file, { unixMs, durationMs, retransmits: 0, sizeBytes });
    return;
  }
  file.failures += 1;
  file.failed = { reason, cause, ms: unixMs, sentBytes, sizeBytes, retransmits };
  attempt.retransmits += retransmits;
  attempt.blocks += Math.floor(sentBytes / blockBytes);
}

function takeMountRefused(attempt: Attempt, event: EventOf<"mount-refused">): void {
  const { path, client, cause, reason, unixMs } = event;
  attempt.mountRefused = { path, client, cause, reason, count: (attempt.mountRefused?.count ?? 0) + 1, ms: unixMs };
}

function takeActivity(facts: NodeFacts, event: EventOf<"root-activity">): void {
  const { unixMs, operations, p99Ms, failed = {}, mostRead, mostWritten } = event;
  facts.activity = [...facts.activity, { ms: unixMs, operations, ...(p99Ms !== undefined && { p99Ms }) }].slice(
    -ACTIVITY_KEPT,
  );
  for (const [status, count] of Object.entries(failed)) {
    facts.failed.set(status, tally(freshTally(facts.failed.get(status), unixMs), unixMs, {}, count));
  }
  if (isUp(facts.status.stage)) return;
  for (const path of [mostRead, mostWritten]) {
    if (path !== undefined) facts.busyFiles = [...facts.busyFiles, { path, ms: unixMs }].slice(-BUSY_FILES_KEPT);
  }
}

function takeUp(facts: NodeFacts, unixMs: number): void {
  delete facts.lastAttempt;
  facts.restarts = [];
  facts.asking = undefined;
  facts.busyFiles = [];
  facts.attempt = newAttempt(unixMs);
}

/** Another board with the same boot ROM asked at about the same time: their OFFERs may cross. Told once for each DISCOVER. */
export function noteTogether(asking: Asking): void {
  asking.together = Math.min(asking.together + 1, asking.discovers);
}
