/** What the NFS server tells about its work, of what is rare: a closed union. What is not is counted (`tree-counters.ts`). */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { FileName } from "../bytes/file-name.ts";
import type { MountRefusal } from "./exports.ts";
import type { KnownRefusal } from "./rpc.ts";

export type NfsObservation =
  | { kind: "mount"; client: Ipv4; path: string; treeId: number }
  | { kind: "mount-refused"; client: Ipv4; path: string; cause: MountRefusal; reason: string }
  | { kind: "unmount"; client: Ipv4; path: string }
  /** A handle of a tree that is not the client's. Told once per client and tree (until many others were). */
  | { kind: "forbidden-handle"; client: Ipv4; treeId: number }
  /** A connection that was ended by us, its bytes being right so far. */
  | { kind: "connection-ended"; client: Ipv4; reason: string }
  /** A call of a version of a program that is not served. */
  | { kind: "wrong-version"; client: Ipv4; program: string; version: number }
  /** Bytes that are no RPC call, or a call whose arguments cannot be read. */
  | { kind: "bad-call"; client: Ipv4; reason: string; cause?: KnownRefusal }
  /** A volume failed with something other than a `VolumeError`: a failing disk or a bug. */
  | { kind: "fault"; client: Ipv4; treeId: number; procedure: string; error: unknown };

export type ObserveNfs = (observation: NfsObservation) => void;

/** A file was made, written, given attributes or renamed; `place` is told when the call named it (CREATE, RENAME). */
export interface FileChange {
  treeId: number;
  fileId: number;
  place?: { directoryId: number; name: FileName };
}
