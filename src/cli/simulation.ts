/**
 * A whole cluster without hardware: a lab network, a manager as its own process, and virtual Pis whose kernels run in
 * QEMU. Runs inside the lab's network namespace. The manager is started again when it dies, as systemd would.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BootEvent, isUp } from "../cluster/event.ts";
import { type LoadedManifest, loadManifest } from "../manager/manifest-file.ts";
import { socketPathOf } from "../manager/state-folder.ts";
import type { ManagerStatusView, NodeStatusView } from "../manager/status-view.ts";
import type { EthernetPort, Random } from "../ports.ts";
import { type FrameFault, withFaults } from "../simulator/faults/frame-faults.ts";
import { type FleetEvent, startFleet } from "../simulator/fleet.ts";
import { FleetProgress } from "../simulator/fleet-report.ts";
import { findVirtualModel, makeBoard } from "../simulator/models.ts";
import { seededChance, seededRandom } from "../simulator/seed.ts";
import { SharedCard } from "../simulator/shared-card.ts";
import { systemClock } from "../system/clock.ts";
import { openConsoleSocket } from "../system/console-socket.ts";
import { createLabNetwork, LAB_RECORD, recordLab } from "../system/lab-network.ts";
import { qemuMachines } from "../system/qemu.ts";
import { openTap } from "../system/tap.ts";
import { ApiClient } from "./api-client.ts";
import type { SimulateOptions } from "./commands/simulate.ts";
import { beginAnew, labNetworkOf, MADE_UP_NODES_MAX, startLabRouter, writeManifest } from "./simulation-cluster.ts";
import { reportText } from "./simulation-report.ts";
import { SimulationView } from "./simulation-view.ts";
import { bootTimeline } from "./status-table.ts";
import { SupervisedManager } from "./supervised-manager.ts";
import { UserError } from "./user-error.ts";

export interface SimulationSettings extends SimulateOptions {
  manifestPath: string;
  stateFolder: string;
  json: boolean;
}

/** In the state folder: a log and a socket for each virtual Pi. */
export const CONSOLE_FOLDER = "console";

const NODES_DEFAULT = 2;
const POLL_MS = 500;
const PROGRESS_MS = 5000;
const NO_EXTERNAL_DHCP =
  "Cannot simulate dhcp: external: nobody on the lab's network would tell the Pis where to boot from; set network.dhcp to proxy or server";

const ONE_NETWORK =
  "Cannot simulate several interfaces: the lab has one network; leave out the entries of network.others that have an interface";

type Outcome = "up" | "done" | "late" | "stopped" | "interrupted" | "gave-up";

/** Resolves with the exit code. */
export async function simulate(settings: SimulationSettings): Promise<number> {
  const { stateFolder } = settings;
  mkdirSync(stateFolder, { recursive: true });
  if (settings.image !== undefined) beginAnew(stateFolder);
  const manifestPath = settings.image === undefined ? settings.manifestPath : madeUpManifest(settings, settings.image);
  const loaded = await loadManifest(manifestPath, stateFolder);
  const count = countOf(loaded, settings);
  const { dhcp, others = [] } = loaded.manifest.network;
  if (dhcp === "external") throw new UserError(NO_EXTERNAL_DHCP, 2);
  if (others.some((other) => other.interface !== undefined)) throw new UserError(ONE_NETWORK, 2);
  // Boards without a kernel share one port of the switch: hundreds of interfaces would take the kernel a minute.
  const ports = settings.firmwareOnly ? 1 : count;
  const lab = await createLabNetwork({ taps: dhcp === "proxy" ? ports + 1 : ports, ...labNetworkOf(loaded) });
  const stopRouter = dhcp === "proxy" ? await startLabRouter(loaded, lab) : async () => {};
  const forgetLab = recordLab(join(stateFolder, LAB_RECORD));
  const manager = new SupervisedManager(
    ["--manifest", manifestPath, "--state", stateFolder, "up", "--json"],
    stateFolder,
  );
  const api = new ApiClient(socketPathOf(stateFolder));
  const view = new SimulationView(settings.json && !settings.report);
  const power = new AbortController();
  const interrupted = new Promise<"interrupted">((done) => {
    // Not once: at a terminal Ctrl-C comes twice, from it and passed on by the process outside, and the second would kill.
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => done("interrupted"));
  });
  let pis: Awaited<ReturnType<typeof virtualPis>> = [];
  let card: SharedCard | undefined;
  try {
    const started = await Promise.race([waitForManager(api, power.signal), manager.gaveUp, interrupted]);
    if (typeof started === "string") return started === "interrupted" ? 130 : 1;
    if (!settings.report) void followEvents(api, view, started.sequence, power.signal);
    pis = await virtualPis(loaded, lab.taps, count, settings);
    if (!settings.report) void followStatus(api, view, power.signal);
    const progress = new FleetProgress(pis);
    const open = portOpener(lab.taps, settings);
    card = open.card;
    let allFinished = () => {};
    const finished = new Promise<"done">((done) => {
      allFinished = () => done("done");
    });
    const fleet = startFleet({
      pis,
      openPort: open.port,
      ...(!settings.firmwareOnly && { machines: qemuMachines(count) }),
      memoryMiB: settings.memory,
      clock: systemClock,
      random: seededRandom(settings.seed),
      signal: power.signal,
      powerOnApartMs: settings.powerOn,
      onEvent(event: FleetEvent) {
        progress.onEvent(event);
        if (!settings.report) view.onPi(event);
        if (progress.isComplete) allFinished();
      },
    });
    if (settings.report && !settings.json) void sayProgress(view, progress, count, power.signal);
    const names = loaded.manifest.nodes.slice(0, count).map((node) => node.name);
    const end = settings.firmwareOnly ? finished : untilUp(api, names, power.signal);
    // A port of the switch that cannot be opened ends everything.
    const failed = new Promise<never>((_, reject) => void fleet.finished.catch(reject));
    const ends: Promise<Outcome>[] = [end, interrupted, manager.gaveUp, failed];
    if (settings.once || settings.firmwareOnly) ends.push(deadline(settings.timeout * 1000, power.signal));
    const outcome = await Promise.race(ends);
    if (outcome === "late" && !(settings.report && settings.json)) {
      view.say(`Not all nodes got there within ${settings.timeout} s`);
    }
    if (settings.report) return sayReport(progress, settings, outcome);
    if (outcome === "up" || outcome === "done") {
      view.finish(await summary(api, names, manifestPath, stateFolder, settings));
      if (!settings.once && !settings.firmwareOnly) await Promise.race([interrupted, fleet.finished]);
    }
    return exitCodeOf(outcome, !settings.firmwareOnly || progress.report().all.booted === count);
  } finally {
    power.abort();
    for (const pi of pis) pi.console?.close();
    await card?.close();
    view.close();
    await manager.stop();
    await stopRouter();
    forgetLab();
  }
}

function exitCodeOf(outcome: Outcome, allBooted: boolean): number {
  if (outcome === "interrupted") return 130;
  return (outcome === "up" || outcome === "done") && allBooted ? 0 : 1;
}

function madeUpManifest({ stateFolder, nodes = NODES_DEFAULT, model }: SimulationSettings, image: string): string {
  if (nodes > MADE_UP_NODES_MAX) {
    throw new UserError(`Cannot simulate ${nodes} nodes: the made-up network has room for ${MADE_UP_NODES_MAX}`, 2);
  }
  return writeManifest({ stateFolder, image, nodes, models: model });
}

function countOf({ manifest, path }: LoadedManifest, { nodes }: SimulationSettings): number {
  const known = manifest.nodes.length;
  if (nodes !== undefined && nodes > known) {
    const why = `${path} has ${known}; name an OS image with --image, and they are made up`;
    throw new UserError(`Cannot simulate ${nodes} nodes: ${why}`, 2);
  }
  return nodes ?? known;
}

/** Firmware is behind the faults that were asked for. */
function portOpener(
  taps: readonly string[],
  { firmwareOnly, loss, seed }: SimulationSettings,
): { card?: SharedCard; port: (tapName: string) => EthernetPort } {
  const faults: FrameFault[] = loss > 0 ? [{ name: "loss", probability: loss }] : [];
  const world = { clock: systemClock, chance: seededChance(seed) };
  const card = firmwareOnly ? new SharedCard(openTap(taps[0]!)) : undefined;
  const open = (tapName: string) => card?.plug() ?? openTap(tapName);
  const port = (tapName: string) => (faults.length > 0 ? withFaults(open(tapName), faults, world) : open(tapName));
  return { port, ...(card && { card }) };
}

async function sayProgress(
  view: SimulationView,
  progress: FleetProgress,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && !progress.isComplete) {
    await pause(PROGRESS_MS);
    if (!signal.aborted) view.say(`${progress.finished} of ${count} boards are through`);
  }
}

function sayReport(progress: FleetProgress, settings: SimulationSettings, outcome: Outcome): number {
  const report = progress.report();
  const { seed, loss } = settings;
  if (settings.json) console.log(JSON.stringify({ kind: "report", seed, loss, ...report }));
  else for (const line of ["", ...reportText(report), `again with the same chance: --seed ${seed}`]) console.log(line);
  return exitCodeOf(outcome, report.all.booted === report.boards.length);
}

async function virtualPis(
  { manifest }: LoadedManifest,
  taps: readonly string[],
  count: number,
  settings: SimulationSettings,
) {
  const random: Random = seededRandom(settings.seed);
  return Promise.all(
    manifest.nodes.slice(0, count).map(async (node, index) => {
      const model = findVirtualModel(node.model ?? settings.model[index % settings.model.length]!);
      if (!model) throw new Error(`Cannot simulate ${node.name}: there is no virtual Pi ${node.model} yet`);
      const board = makeBoard(model, { mac: node.mac, serial: node.serial }, random);
      // Without a kernel nothing is written there.
      if (settings.firmwareOnly) return { name: node.name, board, tapName: taps[0]! };
      const console = await openConsoleSocket(join(settings.stateFolder, CONSOLE_FOLDER), node.name);
      return { name: node.name, board, tapName: taps[index]!, console };
    }),
  );
}

/** The manager's status again and again; none while it is away. */
async function* statuses(api: ApiClient, pauseMs: number, signal: AbortSignal): AsyncGenerator<ManagerStatusView> {
  while (!signal.aborted) {
    const status = await api.get<ManagerStatusView>("/v1/status").catch(() => undefined);
    if (status) yield status;
    await pause(pauseMs);
  }
}

async function waitForManager(api: ApiClient, signal: AbortSignal): Promise<ManagerStatusView | "stopped"> {
  for await (const status of statuses(api, POLL_MS / 5, signal)) if (status.isServing) return status;
  return "stopped";
}

/** Keeps the view fed; a manager that was killed is asked again when it is back. */
async function followEvents(api: ApiClient, view: SimulationView, after: number, signal: AbortSignal): Promise<void> {
  let last = after;
  while (!signal.aborted) {
    try {
      for await (const event of api.lines<BootEvent>(`/v1/events?follow=1&after=${last}`)) {
        last = event.sequence;
        view.onBoot(event);
      }
    } catch {
      // The manager is away; its supervisor brings it back.
    }
    await pause(POLL_MS);
  }
}

async function followStatus(api: ApiClient, view: SimulationView, signal: AbortSignal): Promise<void> {
  for await (const status of statuses(api, POLL_MS, signal)) view.showStatus(status);
}

async function untilUp(api: ApiClient, names: readonly string[], signal: AbortSignal): Promise<"up" | "stopped"> {
  const startMs = systemClock.unixMs();
  for await (const { nodes } of statuses(api, POLL_MS, signal)) {
    // The state folder may remember that they were up in an earlier simulation.
    const cameUp = ({ stage, stageSinceMs }: NodeStatusView) => isUp(stage) && stageSinceMs >= startMs;
    const upNames = new Set(nodes.filter(cameUp).map((node) => node.name));
    if (names.every((name) => upNames.has(name))) return "up";
  }
  return "stopped";
}

async function summary(
  api: ApiClient,
  names: readonly string[],
  manifestPath: string,
  stateFolder: string,
  { once, firmwareOnly }: SimulationSettings,
): Promise<string[]> {
  const status = await api.get<ManagerStatusView>("/v1/status");
  const nodes = status.nodes.filter((node) => names.includes(node.name));
  const lines = nodes.map(bootTimeline);
  if (once || firmwareOnly) return lines;
  const command = `./bramble --manifest ${manifestPath} --state ${stateFolder}`;
  const first = nodes[0]?.name ?? "";
  return [
    ...lines,
    "",
    ...(nodes[0]?.hasSsh ? [`log in    ${command} ssh ${first}`] : []),
    `console   ${command} console ${first}`,
    `status    ${command} status`,
    "end       Ctrl-C",
  ];
}

/** A timer that does not keep the process once the simulation is over. */
function deadline(delayMs: number, over: AbortSignal): Promise<"late"> {
  return new Promise((resolve) => {
    const timer = systemClock.after(delayMs, () => resolve("late"));
    over.addEventListener("abort", () => timer.cancel(), { once: true });
  });
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => void systemClock.after(delayMs, resolve));
}
