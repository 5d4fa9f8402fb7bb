/**
 * What a file system inside an image looks like to the rest of the program, whichever kind it is.
 * Everything is read-only, synchronous on metadata, and throws `DecodeError` on a damaged image.
 */
import type { FileName } from "../bytes/file-name.ts";
import type { FileRange } from "../ports.ts";

export type FileType = "file" | "directory" | "symlink" | "block" | "character" | "fifo" | "socket";

/** Everything `stat` tells. Times are nanoseconds since 1970 UTC. */
export interface InodeAttributes {
  type: FileType;
  /** Permission and set-id/sticky bits, `0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  linkCount: number;
  sizeBytes: number;
  /** What it occupies, as `st_blocks * 512`. */
  usedBytes: number;
  device: { major: number; minor: number };
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

export interface DirectoryEntry {
  name: FileName;
  id: number;
}

/** A run of file bytes that lies contiguously in the source. Ranges not covered by an extent are zeros. */
export interface FileExtent {
  fileOffset: number;
  sourceOffset: number;
  lengthBytes: number;
}

export interface FileSystemImage {
  /** `ext2`, `ext3`, `ext4`, `fat12`, `fat16` or `fat32`. */
  readonly kind: string;
  readonly label: string;
  readonly uuid: string;
  readonly rootId: number;
  /** Ids are integers from 1 to this one; later layers give files they make ids above it. */
  readonly lastId: number;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  /** False for FAT: names are found whatever their case (and keep the case they were given). */
  readonly caseSensitive: boolean;

  /** `undefined` for an id that is not in use. */
  attributes(id: number): InodeAttributes | undefined;
  /** In on-disk order, without `.` and `..`. */
  entries(directoryId: number): DirectoryEntry[];
  lookup(directoryId: number, name: FileName): number | undefined;
  parent(directoryId: number): number;
  symlinkTarget(id: number): FileName;
  /** Full names as `security.capability`, `system.posix_acl_access`, `user.x`. */
  extendedAttributes(id: number): Map<string, Uint8Array>;
  /**
   * Fills `target` from `offset` of the file; returns how many bytes there were (fewer only at its end).
   * Holes read as zeros.
   */
  readFileSync(id: number, target: Uint8Array, offset: number): number;
  /** The same where no wait for a disk is needed; `undefined` otherwise, with `target` filled with anything. */
  readFileNow(id: number, target: Uint8Array, offset: number): number | undefined;
  /** Where these bytes of the file lie, if they do in one piece, in a file of this machine that has them in memory. */
  fileRangeNow?(id: number, offset: number, lengthBytes: number): FileRange | undefined;
  readFile(id: number, target: Uint8Array, offset: number): Promise<number>;
  /** Ids of all inodes in use, ascending. For flat attribute tables and for checking. */
  usedIds(): Iterable<number>;
  close(): void;
}

/** What contents of this size occupy, as `st_blocks * 512`, with no holes in them. */
export function occupiedBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 512) * 512;
}
