/** A tree as plain data: what the process that keeps the structure tells the process that serves the files. */
import type { FileSystemImage } from "../disk/file-system-image.ts";
import type { PlacedFile } from "./placed-file.ts";

export const TREE_KINDS = ["boot", "root"] as const;
export type TreeKind = (typeof TREE_KINDS)[number];

/** What a node is promised of its storage, and how much of it. */
export interface StorageRules {
  /**
   * `sync`: what was answered survives a power cut. `async`: what was done to names and attributes in the last second may
   * not; COMMIT and stable writes still do, with everything before them.
   */
  durability: "sync" | "async";
  /** For both trees of the node together; absent: what the disk has. */
  quotaBytes?: number;
}

export const DEFAULT_RULES: StorageRules = { durability: "sync" };

/** What a tree is to be made of. */
export interface TreeOptions {
  node: string;
  kind: TreeKind;
  image: FileSystemImage;
  /** Names the image's contents: another image needs another one. */
  imageId: string;
  generated: readonly PlacedFile[];
  /** Absent: `DEFAULT_RULES`. */
  rules?: StorageRules;
}

/** Generated files with what the catalog gave them: both tables hold just what these files need. */
export interface GeneratedDescription {
  files: readonly PlacedFile[];
  /** Path without symlinks → index. */
  indexes: ReadonlyMap<string, number>;
  /** Fingerprint (`fingerprintOf`) → time of the file. */
  timesNs: ReadonlyMap<string, bigint>;
}

/** Fit for a message to another process (structured clone). */
export interface TreeDescription {
  node: string;
  kind: TreeKind;
  /** Unique in the store, the same for the life of the (node, kind). */
  treeId: number;
  /** Another one makes older file handles stale. */
  epoch: number;
  fsid: bigint;
  imageId: string;
  /** The first id of the node's own files. */
  firstId: number;
  /** Layer ids from the lowest up. The last is the active one; those before it are frozen. */
  layers: readonly number[];
  generated: GeneratedDescription;
  rules: StorageRules;
}
