/**
 * "Is my network ready?": firmware on a real network, as a spare Pi would run there, until its kernel would start. It tells
 * what it got from whom. On loopback it needs no rights; elsewhere it needs a machine of its own, other than the manager's,
 * because what a machine sends does not come back to its own programs.
 */
import { resolve } from "node:path";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { LoadedManifest } from "../manager/manifest-file.ts";
import type { EthernetPort } from "../ports.ts";
import type { FirmwareFailureReason } from "../simulator/firmware-events.ts";
import { type FleetEvent, startFleet } from "../simulator/fleet.ts";
import { type BoardReport, FleetProgress } from "../simulator/fleet-report.ts";
import { openLoopbackNetwork } from "../simulator/loopback-network.ts";
import { findVirtualModel, makeBoard, type VirtualBoard } from "../simulator/models.ts";
import { seededRandom } from "../simulator/seed.ts";
import { SharedCard } from "../simulator/shared-card.ts";
import { systemClock } from "../system/clock.ts";
import { openRawCard, RAW_CARD_ADDRESSES_MAX } from "../system/raw-card.ts";
import { createUdpSockets } from "../system/udp.ts";
import type { SimulateOptions } from "./commands/simulate.ts";
import { SimulationView } from "./simulation-view.ts";
import { coloured, formatBytes, formatCount, formatDuration } from "./table.ts";
import { UserError } from "./user-error.ts";

export interface SpareSettings extends SimulateOptions {
  interface: string;
  manifestPath: string;
  stateFolder: string | undefined;
  json: boolean;
}

interface Spare {
  name: string;
  board: VirtualBoard;
}

/** What one board was told, beside how it fared. */
export interface SpareReport extends BoardReport {
  mac: string;
  serial: string;
  /** Whoever offered something, in the order of their first OFFERs. */
  offersFrom: Ipv4[];
  address?: { address: Ipv4; netmask: Ipv4; tftpServer: Ipv4; router?: Ipv4 };
}

const LOOPBACK = "lo";

/** What to do about it. */
const REMEDIES: Record<FirmwareFailureReason, string> = {
  "no-answer":
    "look at the cable and the switch's port; with dhcp: proxy the router has to give addresses. `bramble doctor` looks at the network from the manager",
  "no-boot-server":
    "start the manager on this network. It answers nodes of its manifest only: be one with --node NAME, or set adopt: auto",
  "offer-not-noticed": "a manager of Bramble sends what the boot ROM needs; another server cannot help it",
  "address-refused": "two DHCP servers may be at odds: `bramble doctor` names all that answer",
  "no-arp-reply": "the boot server is not on this network, or switched off; look at the address it was said to have",
  "file-timeout": "a firewall on the boot server (UDP, port 69 and those above 1023), a full link, or lost packets",
  "firmware-missing": "the image has no firmware of this model: `bramble image inspect`",
  "device-tree-missing": "the image has no device tree of this model: a newer image, or another model",
  "kernel-missing": "config.txt of the image names a kernel that is not there: `bramble plan NODE`",
  "kernel-unusable": "the image's kernel is none for this model",
};

/** Resolves with the exit code. */
export async function simulateSpare(settings: SpareSettings): Promise<number> {
  const loaded = await manifestOf(settings);
  const spares = sparesOf(settings, loaded);
  const network = await openNetwork(settings, loaded, spares);
  const view = new SimulationView(settings.json);
  const power = new AbortController();
  const told = new Map(spares.map(({ name }) => [name, { offersFrom: new Set<Ipv4>() } as Told]));
  const progress = new FleetProgress(spares);
  const waiting = new Set(spares.map(({ name }) => name));
  const timer = systemClock.after(settings.timeout * 1000, () => power.abort());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => power.abort());
  try {
    await startFleet({
      pis: spares.map((spare) => ({ ...spare, tapName: settings.interface })),
      openPort: network.plug,
      clock: systemClock,
      random: seededRandom(settings.seed),
      signal: power.signal,
      powerOnApartMs: settings.powerOn,
      onEvent(event) {
        if (power.signal.aborted) return;
        progress.onEvent(event);
        note(told.get(event.pi), event);
        if (!settings.json) view.onPi(event);
        if (event.kind === "firmware-done" || event.kind === "firmware-failed") waiting.delete(event.pi);
        if (waiting.size === 0) power.abort();
      },
    }).finished;
  } finally {
    timer.cancel();
    await network.close();
    view.close();
  }
  const reports = progress.report().boards.map((board, index): SpareReport => {
    const { mac, serial } = spares[index]!.board;
    const { offersFrom, address } = told.get(board.pi)!;
    return { ...board, mac, serial, offersFrom: [...offersFrom], ...(address && { address }) };
  });
  if (settings.json) console.log(JSON.stringify({ kind: "report", interface: settings.interface, boards: reports }));
  else for (const report of reports) console.log(`\n${spareText(report).join("\n")}`);
  return reports.every(({ outcome }) => outcome === "booted") ? 0 : 1;
}

interface Told {
  offersFrom: Set<Ipv4>;
  address?: NonNullable<SpareReport["address"]>;
}

function note(told: Told | undefined, event: FleetEvent): void {
  if (told === undefined) return;
  if (event.kind === "dhcp" && event.message === "OFFER" && event.server) told.offersFrom.add(event.server);
  if (event.kind !== "address") return;
  const { address, netmask, tftpServer, router } = event;
  told.address = { address, netmask, tftpServer, ...(router && { router }) };
}

export function spareText(report: SpareReport): string[] {
  const {
    pi,
    model,
    mac,
    serial,
    offersFrom,
    address,
    files,
    sizeBytes,
    durationMs = 0,
    retransmits,
    failure,
  } = report;
  const lines = [`${pi}: Raspberry Pi ${model}, ${mac}, serial number ${serial}`];
  lines.push(`  offers from   ${offersFrom.join(", ") || "nobody"}`);
  if (address) {
    const router = address.router ? `, router ${address.router}` : "";
    lines.push(`  address       ${address.address}, netmask ${address.netmask}${router}`);
    lines.push(`  boot server   ${address.tftpServer}`);
  }
  if (report.outcome === "booted") {
    const again = retransmits > 0 ? `; asked again for ${formatCount(retransmits, "packet")}` : "";
    lines.push(
      `  files         ${files}, ${formatBytes(sizeBytes)}, ${formatDuration(durationMs)} after power-on${again}`,
    );
    lines.push(`  ${coloured("ready", "green")}: its kernel would start now`);
    return lines;
  }
  const why = failure?.message ?? "its first attempt was still under way";
  lines.push(`  ${coloured("not ready", "red")}: ${why}`);
  if (failure) lines.push(`  what to do    ${REMEDIES[failure.reason]}`);
  return lines;
}

/** Of a manager on loopback it has the ports; elsewhere it is only needed for the nodes. */
async function manifestOf({ interface: name, node, manifestPath, stateFolder }: SpareSettings) {
  if (name !== LOOPBACK && node === undefined) return undefined;
  const { loadManifest } = await import("../manager/manifest-file.ts");
  return loadManifest(resolve(manifestPath), stateFolder);
}

function sparesOf(settings: SpareSettings, loaded: LoadedManifest | undefined): Spare[] {
  const { model: models, node: name, nodes = models.length, seed } = settings;
  const random = seededRandom(seed);
  if (name !== undefined) {
    const node = loaded?.manifest.nodes.find((each) => each.name === name);
    if (!node) throw new UserError(`Cannot simulate ${name}: the manifest has no node of that name`, 2);
    const model = findVirtualModel(node.model ?? models[0]!);
    if (!model) throw new UserError(`Cannot simulate ${name}: there is no virtual Pi ${node.model} yet`, 2);
    return [{ name, board: makeBoard(model, { mac: node.mac, serial: node.serial }, random) }];
  }
  if (nodes > RAW_CARD_ADDRESSES_MAX) {
    throw new UserError(`Cannot simulate ${nodes} nodes: one card carries ${RAW_CARD_ADDRESSES_MAX}`, 2);
  }
  return Array.from({ length: nodes }, (_, index) => {
    const model = findVirtualModel(models[index % models.length]!)!;
    return { name: `spare${index + 1}`, board: makeBoard(model, {}, random) };
  });
}

async function openNetwork(
  { interface: name }: SpareSettings,
  loaded: LoadedManifest | undefined,
  spares: readonly Spare[],
): Promise<{ plug(): EthernetPort; close(): void | Promise<void> }> {
  if (name !== LOOPBACK) {
    const card = new SharedCard(
      openRawCard(
        name,
        spares.map(({ board }) => board.mac),
      ),
    );
    return { plug: () => card.plug(), close: () => card.close() };
  }
  const { network } = loaded!.manifest;
  const { dhcp: dhcpPort, tftp: tftpPort } = network.ports;
  return openLoopbackNetwork({
    sockets: await createUdpSockets(),
    clock: systemClock,
    manager: { address: network.address ?? ("127.0.0.1" as Ipv4), dhcpPort, tftpPort },
    onWarning: (message) => console.error(message),
  });
}
