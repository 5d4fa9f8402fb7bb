/**
 * Requested file names as one clean relative path. Firmware sends doubled slashes (`91cdf03d//cmdline.txt`), people
 * a leading slash, and Windows tools backslashes.
 */
import { TFTP_PATH_BYTES_MAX } from "../limits.ts";

export type PathResult = { path: string } | { refused: string };

/** `a//b`, `/a/b`, `a\b` and `./a/b` all give `a/b`. What would lead out of the tree is refused, not repaired. */
export function normalisePath(requested: string): PathResult {
  const sizeBytes = Buffer.byteLength(requested);
  if (sizeBytes > TFTP_PATH_BYTES_MAX)
    return { refused: `the name has ${sizeBytes} bytes; ${TFTP_PATH_BYTES_MAX} at most` };
  if (requested.includes("\0")) return { refused: "the name has a NUL in it" };
  const parts = requested
    .replaceAll("\\", "/")
    .split("/")
    .filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return { refused: "the name leads out of the tree with .." };
  if (parts.length === 0) return { refused: "the name is empty" };
  return { path: parts.join("/") };
}
