/**
 * The generated layer as pure data: what differs between nodes, and between the image and a netbooted node.
 * Computed in `cluster/`, laid over the image by `tree/`.
 */
import type { FileName } from "../bytes/file-name.ts";

export type TreeKind = "boot" | "root";

interface Placed {
  /** Which tree, and the absolute path in it (`/etc/hostname`; the boot tree's `/config.txt`). */
  tree: TreeKind;
  path: string;
  /** One of a few words why it is there, shown by `plan`: "node identity", "NFS root", "manifest files". */
  reason: string;
}

/**
 * - `file`, `symlink`, `directory`: stand at the path whatever the image has there (a directory of the image keeps
 *   its entries). Parent directories are made as needed, root 0755. Paths go through symlinked directories of the
 *   image (`/lib` → `/usr/lib`), but the last component is never followed.
 * - `removed`: the path does not exist.
 */
export type GeneratedFile =
  | (Placed & { kind: "file"; content: Uint8Array; mode: number; uid: number; gid: number; secret?: boolean })
  | (Placed & { kind: "symlink"; target: FileName })
  | (Placed & { kind: "directory"; mode: number; uid: number; gid: number })
  | (Placed & { kind: "removed" });

/** Read access to one file system of an image by path, following symlinks inside it. */
export interface ImageFiles {
  /** `undefined` when it is not there or is not a plain file. Throws `DecodeError` when larger than `maxBytes`. */
  readFile(path: string, maxBytes?: number): Uint8Array | undefined;
  exists(path: string): boolean;
  isDirectory(path: string): boolean;
  /** Names in a directory; empty when it is not there. */
  list(path: string): string[];
  /** All of it: sizes of its plain files, each rounded up to whole pages, and how many files of any kind there are. */
  measure(pageBytes: number): { sizeBytes: number; inodes: number };
}
