/**
 * The contract between the NFS server and whatever holds the files. One volume is one exported tree.
 *
 * Rules for implementers:
 * - A file id stays the same for the life of the file, across restarts; it is never given to another file.
 * - A method answers at once where it can, and with a promise where it must wait (`Awaitable`).
 * - A refusal is a `VolumeError`, thrown or rejected, with the NFS status to send. Anything else thrown is a bug
 *   or a failing disk: the server answers NFS3ERR_IO or NFS3ERR_SERVERFAULT and reports it.
 * - Permission checks are the server's work (`nfs/permission.ts`); a volume trusts its caller.
 * - Changes are promised to be durable when the method's answer arrives, except `write` with `stable: false`.
 * - Ids that are not (or no longer) in use: `VolumeError("NFS3ERR_STALE")`.
 */
import type { FileName } from "../bytes/file-name.ts";
import type { Awaitable, FileRange } from "../ports.ts";
import type { XdrWriter } from "./xdr.ts";

/** `nfsstat3`, RFC 1813 2.6. */
export const NFS_STATUS = {
  NFS3_OK: 0,
  NFS3ERR_PERM: 1,
  NFS3ERR_NOENT: 2,
  NFS3ERR_IO: 5,
  NFS3ERR_NXIO: 6,
  NFS3ERR_ACCES: 13,
  NFS3ERR_EXIST: 17,
  NFS3ERR_XDEV: 18,
  NFS3ERR_NODEV: 19,
  NFS3ERR_NOTDIR: 20,
  NFS3ERR_ISDIR: 21,
  NFS3ERR_INVAL: 22,
  NFS3ERR_FBIG: 27,
  NFS3ERR_NOSPC: 28,
  NFS3ERR_ROFS: 30,
  NFS3ERR_MLINK: 31,
  NFS3ERR_NAMETOOLONG: 63,
  NFS3ERR_NOTEMPTY: 66,
  NFS3ERR_DQUOT: 69,
  NFS3ERR_STALE: 70,
  NFS3ERR_REMOTE: 71,
  NFS3ERR_BADHANDLE: 10001,
  NFS3ERR_NOT_SYNC: 10002,
  NFS3ERR_BAD_COOKIE: 10003,
  NFS3ERR_NOTSUPP: 10004,
  NFS3ERR_TOOSMALL: 10005,
  NFS3ERR_SERVERFAULT: 10006,
  NFS3ERR_BADTYPE: 10007,
  NFS3ERR_JUKEBOX: 10008,
} as const;

export type NfsStatus = keyof typeof NFS_STATUS;

export class VolumeError extends Error {
  readonly status: NfsStatus;

  constructor(status: NfsStatus, options?: ErrorOptions) {
    super(status, options);
    this.name = "VolumeError";
    this.status = status;
  }
}

export type VolumeFileType = "file" | "directory" | "symlink" | "block" | "character" | "fifo" | "socket";

/** `fattr3` without the fsid. Times are nanoseconds since 1970 UTC. */
export interface VolumeAttributes {
  id: number;
  type: VolumeFileType;
  mode: number;
  uid: number;
  gid: number;
  linkCount: number;
  sizeBytes: number;
  usedBytes: number;
  device: { major: number; minor: number };
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

/** `sattr3`. What is absent stays as it is. Times: a value, or `"server"` for the server's clock. */
export interface AttributeChanges {
  mode?: number;
  uid?: number;
  gid?: number;
  sizeBytes?: number;
  atime?: bigint | "server";
  mtime?: bigint | "server";
}

/** What a new file, directory or special file starts with. */
export interface NewAttributes extends AttributeChanges {
  mode: number;
  uid: number;
  gid: number;
}

export interface VolumeEntry {
  name: FileName;
  id: number;
  /** Where the next listing goes on: every entry after this one. Never 0, stable while the entry exists. */
  cookie: number;
}

export interface ReadAnswer {
  bytes: Uint8Array;
  endOfFile: boolean;
  /** Gives the memory of `bytes` back, to be used again. Need not be called. */
  release?: () => void;
}

export interface RangeAnswer {
  range: FileRange;
  endOfFile: boolean;
}

export interface VolumeSpace {
  totalBytes: number;
  freeBytes: number;
  availableBytes: number;
  totalFiles: number;
  freeFiles: number;
}

export type SpecialFile =
  | { type: "block" | "character"; device: { major: number; minor: number } }
  | { type: "fifo" | "socket" };

/**
 * Of CREATE. `unchecked`: an existing plain file is returned with `sizeBytes` applied if given; `guarded`: NFS3ERR_EXIST;
 * `exclusive`: the same verifier again returns the same file, another one NFS3ERR_EXIST.
 */
export type CreateHow = { kind: "unchecked" | "guarded" } | { kind: "exclusive"; verifier: Uint8Array };

/** Names one call of one client: the same text again when the client repeats the call, and another for any other call. */
export type CallIdentity = string;

/**
 * Methods that take a `call` do what they do once for it: where they did it before, perhaps in an earlier run of the
 * program that was killed before it answered, they answer as if they did it now. A volume may know the last calls only.
 */
export interface Volume {
  /** 64 bits that differ between any two volumes. */
  readonly fsid: bigint;
  readonly rootId: number;
  readonly readOnly: boolean;
  /** False when names that differ only in case are the same, as on FAT. */
  readonly caseSensitive: boolean;
  /** Part of every file handle; a new value makes all older handles stale (the node layer was dropped). */
  readonly epoch: number;

  /**
   * How often unstable writes were lost, by a failing disk, while the server went on. Part of the write verifier, so that
   * clients send again what was not committed. Absent: never.
   */
  readonly lossCount?: number;

  getattr(id: number): Awaitable<VolumeAttributes>;
  /** For listings: writes `fattr3` if that can be done at once, and cheaper than by way of `getattr`. */
  writeAttributes?(id: number, writer: XdrWriter): boolean;
  /**
   * For listings: writes entries that `readdir` gave, without `.` and `..`, as `entryplus3` with attributes and a handle of
   * zeros, if that can be done at once. False: nothing was written.
   */
  writeEntries?(directoryId: number, listed: readonly VolumeEntry[], writer: XdrWriter): boolean;
  /** With `guardCtimeNs`, refuses with NFS3ERR_NOT_SYNC if the file's ctime is another. */
  setattr(
    id: number,
    changes: AttributeChanges,
    guardCtimeNs?: bigint,
    call?: CallIdentity,
  ): Awaitable<VolumeAttributes>;
  /** `undefined` when there is no such name. `.` and `..` work. */
  lookup(directoryId: number, name: FileName): Awaitable<number | undefined>;
  readlink(id: number): Awaitable<FileName>;
  /** Bytes from `offset`, at most `countBytes`; fewer only at the end of the file. */
  read(id: number, offset: number, countBytes: number): Awaitable<ReadAnswer>;
  /** The same as a range of a file to be sent from, where it is one and in memory. */
  readRange?(id: number, offset: number, countBytes: number): Awaitable<RangeAnswer | undefined>;
  /** `bytes` must stay as they are until it is answered. */
  write(id: number, offset: number, bytes: Uint8Array, stable: boolean): Awaitable<void>;
  commit(id: number): Awaitable<void>;

  /** Makes a plain file. */
  create(
    directoryId: number,
    name: FileName,
    how: CreateHow,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number>;
  mkdir(directoryId: number, name: FileName, attributes: NewAttributes, call?: CallIdentity): Awaitable<number>;
  symlink(
    directoryId: number,
    name: FileName,
    target: FileName,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number>;
  mknod(
    directoryId: number,
    name: FileName,
    special: SpecialFile,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number>;
  link(id: number, directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void>;
  remove(directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void>;
  rmdir(directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void>;
  rename(
    fromDirectoryId: number,
    fromName: FileName,
    toDirectoryId: number,
    toName: FileName,
    call?: CallIdentity,
  ): Awaitable<void>;

  /**
   * Entries after `cookie` (0: from the start), `.` and `..` first, at most `limit` of them; `complete` when
   * the last entry of the directory is among them. Entries that exist throughout a listing appear exactly once.
   */
  readdir(directoryId: number, cookie: number, limit: number): Awaitable<{ entries: VolumeEntry[]; complete: boolean }>;
  statfs(): Awaitable<VolumeSpace>;
}
