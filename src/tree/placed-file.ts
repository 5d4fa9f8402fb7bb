import type { FileName } from "../bytes/file-name.ts";

/**
 * One entry of a generated layer, at an absolute path of its tree. What stands there in the image gives way, but a
 * directory of the image keeps its entries under a placed directory. Missing parents are made (root, 0755). The way
 * to the path goes through symlinked directories; its last component is never followed.
 */
export type PlacedFile = { path: string } & (
  | { kind: "file"; content: Uint8Array; mode: number; uid: number; gid: number }
  | { kind: "symlink"; target: FileName }
  | { kind: "directory"; mode: number; uid: number; gid: number }
  | { kind: "removed" }
);
