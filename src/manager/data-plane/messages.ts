/**
 * What the manager's process and its workers say to each other, as closed unions of plain data (structured clone). A
 * connection travels beside its message, as a handle.
 */
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { UpReport } from "../../cluster/generated/index.ts";
import type { NfsObservation } from "../../nfs/observation.ts";
import type { PortMapping } from "../../nfs/portmap.ts";
import type { TreeActivity } from "../../nfs/tree-counters.ts";
import type { UdpBinding, UdpPeer } from "../../ports.ts";
import type { TftpReadRequest } from "../../tftp/handler.ts";
import type { TftpObservation } from "../../tftp/observation.ts";
import type { TreeDescription } from "../../tree/tree-description.ts";
import type { PacketsSince } from "../capture/packet-rings.ts";
import type { BusyFiles } from "./busy-files.ts";

/** What a data plane needs to know once. */
export interface DataPlaneSettings {
  stateFolder: string;
  /** As of `NfsServiceOptions`. */
  handleKey: Uint8Array;
  requirePrivilegedPorts: boolean;
  portMappings: readonly PortMapping[];
  /** Where TFTP's data sockets are bound. */
  tftpBinding: Omit<UdpBinding, "port">;
}

export interface WorkerSettings extends DataPlaneSettings {
  /** The worker's own, `[0-9a-z]+`. */
  journalName: string;
}

/** A node with its trees, all of one image. */
export interface NodeOpening {
  node: string;
  imageId: string;
  /** The unpacked disk image. */
  imagePath: string;
  trees: readonly TreeDescription[];
}

export interface NodeOpened {
  /** Contents that the node itself has stored. */
  usedBytes: number;
  /** What stands in the node's report file. */
  upReport?: UpReport;
}

/** What was done in a tree since it was last told. */
export interface ServedTreeActivity {
  node: string;
  kind: TreeDescription["kind"];
  treeId: number;
  activity: TreeActivity;
  busy: BusyFiles;
}

export interface NodeActivity {
  node: string;
  usedBytes: number;
}

/** What is asked for and answered, by the name of the question. */
export interface Questions {
  start: { asked: WorkerSettings; answered: undefined };
  open: { asked: NodeOpening; answered: NodeOpened };
  /** Calls of the node wait from here until it is opened again. Answers what the node had stored until then. */
  release: { asked: { node: string; abandon: boolean }; answered: { usedBytes: number } };
  forget: { asked: { node: string }; answered: undefined };
  /** Once it is answered, other processes find all that nodes have written before. */
  flush: { asked: undefined; answered: undefined };
  /** Paths of the generated files at which the node's own changes stand instead. */
  overriddenPaths: { asked: { node: string }; answered: string[] };
  /** Packets of TFTP from and to these addresses; `after` is the `last` of the answer before. */
  packets: { asked: { addresses: readonly Ipv4[]; after: number }; answered: PacketsSince };
  stop: { asked: undefined; answered: undefined };
}

export type QuestionName = keyof Questions;

export type Question = { [Name in QuestionName]: { name: Name; asked: Questions[Name]["asked"] } }[QuestionName];

export type ToWorker =
  | { kind: "question"; number: number; question: Question }
  /** Who owns these addresses now; `undefined`: none of this worker's nodes. */
  | { kind: "owners"; owners: readonly (readonly [Ipv4, string | undefined])[] }
  /** Comes with the socket, and is answered by `taken`. */
  | { kind: "connection"; number: number; node: string; remote: UdpPeer }
  /** `path` is the file in the node's boot tree; that of the request is what was asked for. */
  | { kind: "tftp"; node: string; path: string; request: TftpReadRequest };

/** What a data plane tells by itself. */
export type DataPlaneObservation =
  | { kind: "nfs"; observation: NfsObservation }
  | { kind: "tftp"; observation: TftpObservation }
  | { kind: "up-report"; node: string; report: UpReport }
  | { kind: "warning"; message: string }
  /** At most each second, and only of those who did something. */
  | { kind: "activity"; trees: readonly ServedTreeActivity[]; nodes: readonly NodeActivity[] };

export type FromWorker =
  | { kind: "answer"; number: number; answered: Questions[QuestionName]["answered"] }
  | { kind: "refusal"; number: number; message: string }
  | { kind: "taken"; number: number }
  /** The last words before a crash. */
  | { kind: "crash"; reason: string }
  | { kind: "observation"; observation: DataPlaneObservation };

/** What the control plane asks of whoever serves the nodes. */
export interface NodeServing {
  open(opening: NodeOpening): Promise<NodeOpened>;
  release(node: string, how: { abandon: boolean }): Promise<{ usedBytes: number }>;
  forget(node: string): Promise<void>;
  /** When it resolves, other processes find all changes of names and attributes that the node was answered before. */
  flush(node: string): Promise<void>;
  overriddenPaths(node: string): Promise<string[]>;
}
