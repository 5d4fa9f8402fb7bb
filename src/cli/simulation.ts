/**
 * A whole cluster without hardware: a lab network, a manager as its own process, and virtual Pis whose kernels run in
 * QEMU. Runs inside the lab's network namespace. The manager is started again when it dies, as systemd would.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Ipv4, ipv4FromNumber } from "../bytes/addresses.ts";
import type { BootEvent } from "../cluster/event.ts";
import { parseSubnet } from "../cluster/manifest.ts";
import { type LoadedManifest, loadManifest } from "../manager/manifest-file.ts";
import { socketPathOf } from "../manager/state-folder.ts";
import type { ManagerStatusView, NodeStatusView } from "../manager/status-view.ts";
import { startFleet } from "../simulator/fleet.ts";
import { findVirtualModel, makeBoard } from "../simulator/models.ts";
import { lastFreeAddress, startRouter } from "../simulator/router.ts";
import { systemClock } from "../system/clock.ts";
import { openConsoleSocket } from "../system/console-socket.ts";
import {
  createLabNetwork,
  LAB_ADDRESS,
  LAB_BRIDGE,
  LAB_PREFIX_LENGTH,
  LAB_RECORD,
  type LabNetwork,
  readLabRecord,
  recordLab,
} from "../system/lab-network.ts";
import { qemuMachines } from "../system/qemu.ts";
import { systemRandom } from "../system/random.ts";
import { openTap } from "../system/tap.ts";
import { ApiClient } from "./api-client.ts";
import type { SimulateOptions } from "./commands/simulate.ts";
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
  const manifestPath = settings.image === undefined ? settings.manifestPath : writeManifest(settings, settings.image);
  const loaded = await loadManifest(manifestPath, stateFolder);
  const count = Math.min(settings.nodes ?? loaded.manifest.nodes.length, loaded.manifest.nodes.length);
  const { dhcp, others = [] } = loaded.manifest.network;
  if (dhcp === "external") throw new UserError(NO_EXTERNAL_DHCP, 2);
  if (others.some((other) => other.interface !== undefined)) throw new UserError(ONE_NETWORK, 2);
  const lab = await createLabNetwork({ taps: dhcp === "proxy" ? count + 1 : count, ...labNetworkOf(loaded) });
  const stopRouter = dhcp === "proxy" ? await startLabRouter(loaded, lab) : async () => {};
  const forgetLab = recordLab(join(stateFolder, LAB_RECORD));
  const manager = new SupervisedManager(
    ["--manifest", manifestPath, "--state", stateFolder, "up", "--json"],
    stateFolder,
  );
  const api = new ApiClient(socketPathOf(stateFolder));
  const view = new SimulationView(settings.json);
  const power = new AbortController();
  const interrupted = new Promise<"interrupted">((done) => {
    // Not once: at a terminal Ctrl-C comes twice, from it and passed on by the process outside, and the second would kill.
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => done("interrupted"));
  });
  let pis: Awaited<ReturnType<typeof virtualPis>> = [];
  try {
    const started = await Promise.race([waitForManager(api, power.signal), manager.gaveUp, interrupted]);
    if (typeof started === "string") return started === "interrupted" ? 130 : 1;
    void followEvents(api, view, started.sequence, power.signal);
    pis = await virtualPis(loaded, lab.taps.slice(0, count), settings);
    void followStatus(api, view, power.signal);
    const fleet = startFleet({
      pis,
      openPort: openTap,
      ...(!settings.firmwareOnly && { machines: qemuMachines }),
      memoryMiB: settings.memory,
      clock: systemClock,
      random: systemRandom,
      signal: power.signal,
      onEvent: (event) => view.onPi(event),
    });
    const names = loaded.manifest.nodes.slice(0, count).map((node) => node.name);
    const end = settings.firmwareOnly ? fleet.finished.then(() => "done" as const) : untilUp(api, names, power.signal);
    // A port of the switch that cannot be opened ends everything.
    const failed = new Promise<never>((_, reject) => void fleet.finished.catch(reject));
    const ends: Promise<Outcome>[] = [end, interrupted, manager.gaveUp, failed];
    if (settings.once || settings.firmwareOnly) ends.push(deadline(settings.timeout * 1000, power.signal));
    const outcome = await Promise.race(ends);
    if (outcome === "late") view.say(`Not all nodes got there within ${settings.timeout} s`);
    if (outcome === "up" || outcome === "done") {
      view.finish(await summary(api, names, manifestPath, stateFolder, settings));
      if (!settings.once && !settings.firmwareOnly) await Promise.race([interrupted, fleet.finished]);
    }
    return outcome === "up" || outcome === "done" ? 0 : outcome === "interrupted" ? 130 : 1;
  } finally {
    power.abort();
    for (const pi of pis) pi.console.close();
    view.close();
    await manager.stop();
    await stopRouter();
    forgetLab();
  }
}

/** The lab looks like the network of the manifest: the same interface, the manager at the same address. */
function labNetworkOf({ manifest: { network } }: LoadedManifest): {
  bridge: string;
  address: Ipv4;
  prefixLength: number;
} {
  const subnet = network.subnet === undefined ? undefined : parseSubnet(network.subnet);
  return {
    bridge: network.interface ?? LAB_BRIDGE,
    address: network.address ?? (subnet ? ipv4FromNumber(subnet.first + 1) : LAB_ADDRESS),
    prefixLength: subnet?.prefixBits ?? LAB_PREFIX_LENGTH,
  };
}

/** In proxy mode the manager counts on a router that gives addresses: it has the last port of the switch. */
async function startLabRouter({ manifest }: LoadedManifest, lab: LabNetwork): Promise<() => Promise<void>> {
  const { address: manager, prefixLength, taps } = lab;
  const taken = [manager, ...manifest.nodes.flatMap((node) => node.address ?? [])];
  const address = manifest.network.router ?? lastFreeAddress({ address: manager, prefixLength, taken });
  const port = await openTap(taps.at(-1)!);
  return startRouter({ port, clock: systemClock, address, prefixLength, taken: [...taken, address] });
}

/** In a state folder whose cluster was made up for an image, so that it may be thrown away. */
const MADE_UP_MARK = "made-up-cluster";
const FORGOTTEN = ["trees", "data", "events.ndjson", "leases.json", "learned-macs.json"];

/** Made-up nodes start as new each time: what they wrote over one image means nothing over another. */
function beginAnew(stateFolder: string): void {
  const running = readLabRecord(join(stateFolder, LAB_RECORD));
  if (running) {
    throw new UserError(
      `Cannot simulate in ${stateFolder}: process ${running.pid} does already; end it, or name another folder with --state`,
    );
  }
  const mark = join(stateFolder, MADE_UP_MARK);
  if (existsSync(join(stateFolder, "trees")) && !existsSync(mark)) {
    throw new UserError(
      `Cannot simulate in ${stateFolder}: it holds what the nodes of a manifest wrote; name another folder with --state`,
      2,
    );
  }
  writeFileSync(mark, "");
  for (const name of FORGOTTEN) rmSync(join(stateFolder, name), { recursive: true, force: true });
}

function writeManifest({ stateFolder, nodes = NODES_DEFAULT, model }: SimulationSettings, image: string): string {
  const path = join(stateFolder, "bramble.yaml");
  const source = existsSync(image) ? resolve(image) : image;
  const lines = Array.from({ length: nodes }, (_, index) => {
    const tail = (index + 1).toString(16).padStart(4, "0");
    const mac = `dc:a6:32:00:${tail.slice(0, 2)}:${tail.slice(2)}`;
    return `  - { name: node${index + 1}, mac: "${mac}", serial: "1000${tail}", model: "${model[index % model.length]}" }`;
  });
  const text = [
    "cluster: demo",
    "network:",
    `  interface: ${LAB_BRIDGE}`,
    "  dhcp: server",
    "  subnet: 10.77.0.0/24",
    "  range: { from: 10.77.0.11, to: 10.77.0.250 }",
    `image: ${JSON.stringify(source)}`,
    "access: { user: pi }",
    "nodes:",
    ...lines,
    "",
  ].join("\n");
  writeFileSync(path, text);
  return path;
}

async function virtualPis({ manifest }: LoadedManifest, taps: readonly string[], settings: SimulationSettings) {
  const nodes = manifest.nodes.slice(0, taps.length);
  return Promise.all(
    nodes.map(async (node, index) => {
      const model = findVirtualModel(node.model ?? settings.model[index % settings.model.length]!);
      if (!model) throw new Error(`Cannot simulate ${node.name}: there is no virtual Pi ${node.model} yet`);
      return {
        name: node.name,
        board: makeBoard(model, { mac: node.mac, serial: node.serial }, systemRandom),
        tapName: taps[index]!,
        console: await openConsoleSocket(join(settings.stateFolder, CONSOLE_FOLDER), node.name),
      };
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
    const isUp = ({ stage, stageSinceMs }: NodeStatusView) => stage === "up" && stageSinceMs >= startMs;
    const upNames = new Set(nodes.filter(isUp).map((node) => node.name));
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
