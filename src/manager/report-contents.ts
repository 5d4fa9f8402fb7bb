/** What a bug report of a node holds: made of what the manager tells, or of what it has left on disk. Nothing here is redacted. */
import { readFileSync } from "node:fs";
import { availableParallelism, freemem, networkInterfaces, release, totalmem } from "node:os";
import { join } from "node:path";
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import { isDhcp } from "../cluster/packet-text.ts";
import { systemClock } from "../system/clock.ts";
import { type CapturedPacketJson, capturedText, frameOf } from "./capture/captured-packet.ts";
import { pcapHeader, pcapRecord } from "./capture/pcap.ts";
import { Journal } from "./journal.ts";
import { NodeLog } from "./node-log.ts";
import { VERSION } from "./version.ts";

const TFTP_DATA = 3;
/** Opcode and block number. */
const TFTP_DATA_HEADER_BYTES = 4;

/** The log of a node as the last manager left it, for when none runs. */
export async function logOnDisk(stateFolder: string, node: string): Promise<BootEvent[]> {
  const journal = new Journal(join(stateFolder, "events.ndjson"), systemClock);
  await journal.load();
  return new NodeLog(journal, join(stateFolder, "console.ndjson"), systemClock).of(node, undefined);
}

/** What does not leave with a report: contents of files, and text that nobody has looked through. Headers stay. */
export function withoutContents(packet: CapturedPacketJson): CapturedPacketJson {
  const bytes = Buffer.from(packet.base64, "base64");
  const isText = packet.etherType === undefined && bytes[0] !== 0 && !isDhcp(bytes);
  const isData = bytes[0] === 0 && bytes[1] === TFTP_DATA;
  if (!isText && !isData) return packet;
  return { ...packet, base64: bytes.subarray(0, isText ? 0 : TFTP_DATA_HEADER_BYTES).toString("base64") };
}

export function captureFile(packets: readonly CapturedPacketJson[]): Uint8Array {
  return Buffer.concat([pcapHeader(), ...packets.map((packet) => pcapRecord(frameOf(packet)))]);
}

export function captureText(packets: readonly CapturedPacketJson[]): string {
  return packets.map((packet) => `${capturedText(packet)}\n`).join("");
}

type Diagnosis = BootEvent & Extract<BootOccurrence, { kind: "diagnosis" }>;

/** Why the node does not get on, as far as events told and did not take back. */
export function standingDiagnoses(events: readonly BootEvent[]): string {
  const standing = new Map<string | undefined, Diagnosis>();
  for (const event of events) {
    if (event.kind === "diagnosis") standing.set(event.node, event);
    else if (event.kind === "diagnosis-cleared") standing.delete(event.node);
  }
  if (standing.size === 0) return "No cause of trouble has been told that still stands.\n";
  return [...standing.values()]
    .map(({ node, cause, title, evidence, remedy, unixMs }) => {
      const since = new Date(unixMs).toISOString();
      return `${node ?? "network"}: ${cause} (${title}), since ${since}\n  evidence: ${evidence}\n  remedy: ${remedy}\n`;
    })
    .join("\n");
}

/** The machine that the report is made on: as a rule the manager's. */
export function versions(): Record<string, unknown> {
  const mebibytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`;
  return {
    bramble: VERSION,
    node: process.version,
    libraries: libraryVersions(),
    openssl: process.versions.openssl,
    system: readLine("/etc/os-release", /^PRETTY_NAME="?([^"\n]*)/m),
    kernel: release(),
    architecture: process.arch,
    board: readLine("/proc/device-tree/model", /^([^\0]*)/),
    cores: availableParallelism(),
    memory: { total: mebibytes(totalmem()), free: mebibytes(freemem()) },
    interfaces: networkInterfaces(),
  };
}

function libraryVersions(): Record<string, string> {
  const text = readText(join(import.meta.dirname, "../../package.json"));
  return (text === undefined ? {} : (JSON.parse(text) as { dependencies?: Record<string, string> }).dependencies) ?? {};
}

function readLine(path: string, pattern: RegExp): string | undefined {
  return pattern.exec(readText(path) ?? "")?.[1];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
