/**
 * Which file a TFTP request means. The node is found by the serial that begins the path, else the MAC that begins it
 * (`TFTP_PREFIX=2`), else the client's address; the rest of the path is looked up in that node's boot tree.
 */
import { type Ipv4, parseMac } from "../bytes/addresses.ts";
import type { Awaitable } from "../ports.ts";
import type { TftpAnswer, TftpRefusal, TftpRequest } from "../tftp/handler.ts";
import type { TftpObservation } from "../tftp/observation.ts";
import type { NodeDirectory, NodeIdentity } from "./node-directory.ts";
import type { Report } from "./report.ts";

export interface OpenBootFile {
  sizeBytes: number;
  /** Fills `target` from `offset`; returns how many bytes there were. */
  read(target: Uint8Array, offset: number): Awaitable<number>;
  close(): void;
}

/** The boot trees of all nodes, as TFTP needs them. */
export interface BootTrees {
  /** `undefined` when the node has no such plain file. Paths are relative, without `..`. */
  open(node: string, path: string): OpenBootFile | undefined;
  /** Why a file that is there must not be served, if so. */
  blocked(node: string, path: string): string | undefined;
}

const SERIAL_PREFIX = /^([0-9a-f]{8})\/(.+)$/i;
const MAC_PREFIX = /^([0-9a-f]{2}(?:-[0-9a-f]{2}){5})\/(.+)$/i;

/** Which file of which node a request means. */
export interface BootFileName {
  node: string;
  /** In the node's boot tree. */
  path: string;
}

/**
 * Finds the node of a request. `learnNeighbours` is asked once when an address is not known: the kernel's table may say
 * whose it is. The answer waits for what `beforeFile` starts.
 */
export function tftpNodes(
  directory: NodeDirectory,
  learnNeighbours: () => Promise<void>,
  beforeFile: (node: string, path: string) => Promise<void> | undefined = () => undefined,
): (request: TftpRequest) => Awaitable<BootFileName | TftpRefusal> {
  const find = ({ path, client }: TftpRequest): Awaitable<BootFileName> | undefined => {
    const found = resolveNode(directory, path, client.address);
    if (!found) return undefined;
    const name = { node: found.node.name, path: found.path };
    const waiting = beforeFile(name.node, name.path);
    return waiting ? waiting.then(() => name) : name;
  };
  const unknown = ({ client }: TftpRequest): TftpRefusal => ({
    kind: "missing",
    reason: `${client.address} is no node of the manifest, and the path names none`,
  });
  return (request) => find(request) ?? learnNeighbours().then(() => find(request) ?? unknown(request));
}

/** The file, or why it is not served. */
export function bootFile(trees: BootTrees, { node, path }: BootFileName): TftpAnswer {
  const blocked = trees.blocked(node, path);
  if (blocked !== undefined) return { kind: "missing", reason: blocked };
  const file = trees.open(node, path);
  if (!file) return { kind: "missing", reason: `the boot tree of ${node} has no /${path}` };
  return { kind: "file", ...file };
}

interface FoundFile {
  node: NodeIdentity;
  path: string;
}

function resolveNode(directory: NodeDirectory, path: string, client: Ipv4): FoundFile | undefined {
  const bySerial = SERIAL_PREFIX.exec(path);
  const byMac = MAC_PREFIX.exec(path);
  const rest = bySerial?.[2] ?? byMac?.[2] ?? path;
  const named = bySerial
    ? directory.bySerial(bySerial[1]!.toLowerCase())
    : byMac
      ? directory.byMac(parseMac(byMac[1]!))
      : undefined;
  // Anybody can ask below anybody's serial: it tells an address only of a node that nothing better is known of.
  if (named && directory.macOf(named) === undefined) directory.learnAddress(client, named, "serial");
  // A board that the manifest names by MAC only still asks below its serial.
  const node = named ?? directory.byAddress(client);
  return node && { node, path: rest };
}

/** Turns what the TFTP service saw into events. */
export function observeTftp(directory: NodeDirectory, report: Report): (observation: TftpObservation) => void {
  return (observation) => {
    const client = observation.client.address;
    const node = directory.byAddress(client)?.name;
    switch (observation.kind) {
      case "request": {
        const { path, blockBytes } = observation;
        report({ kind: "tftp-request", path, client, ...(blockBytes !== undefined && { blockBytes }) }, node);
        break;
      }
      case "missing":
      case "refused": {
        const { kind, path, reason } = observation;
        const refused = kind === "refused" && ({ isRefused: true } as const);
        report({ kind: "tftp-missing", path, client, reason, ...refused }, node);
        break;
      }
      case "probed":
        report({ kind: "tftp-probed", path: observation.path, client, sizeBytes: observation.sizeBytes }, node);
        break;
      case "progress": {
        const { path, sentBytes, sizeBytes } = observation;
        report({ kind: "tftp-progress", path, client, sentBytes, sizeBytes }, node);
        break;
      }
      case "complete": {
        const { path, sizeBytes, durationMs, retransmits } = observation;
        report({ kind: "tftp-complete", path, client, sizeBytes, durationMs, retransmits }, node);
        break;
      }
      case "failed": {
        const { path, reason, cause, progress } = observation;
        report({ kind: "tftp-failed", path, client, reason, ...(cause && { cause }), ...progress }, node);
        break;
      }
      case "malformed":
        report(
          {
            kind: "warning",
            message: `A TFTP packet from ${client} was damaged: ${observation.reason}`,
            about: "tftp-packet",
          },
          node,
        );
        break;
    }
  };
}
