/** `logs:` of the manifest: where a node keeps its logs, and how much of them. */
import { z } from "zod";
import { byteSize, duration } from "./manifest-values.ts";

const MIB = 1024 * 1024;
/** journald has half of it, in files of an eighth of that: smaller ones hold a few minutes of a busy node. */
const SIZE_BYTES_MIN = 16 * MIB;
const SIZE_BYTES_MAX = 1024 * MIB;
const SIZE_BYTES_DEFAULT = 64 * MIB;
const FLUSH_S_DEFAULT = 3600;

const keep = z.enum(["disk", "memory", "none"]);

export const logs = z
  .strictObject({
    keep,
    size: byteSize
      .refine((bytes) => bytes >= SIZE_BYTES_MIN && bytes <= SIZE_BYTES_MAX, { error: "Expected 16MiB to 1GiB" })
      .exactOptional(),
    flush: duration.refine((seconds) => seconds >= 60, { error: "Expected at least 60s" }).exactOptional(),
  })
  .refine((value) => value.flush === undefined || value.keep === "memory", {
    error: "Expected flush only with keep: memory; other logs are not flushed",
  })
  .transform(({ keep, size, flush }): LogsWish => {
    if (keep === "disk") return { keep, ...(size !== undefined && { sizeBytes: size }) };
    const sizeBytes = size ?? SIZE_BYTES_DEFAULT;
    return keep === "none" ? { keep, sizeBytes } : { keep, sizeBytes, flushS: flush ?? FLUSH_S_DEFAULT };
  })
  .describe("Where a node keeps its logs: on its disk, in memory with flushes, or in memory alone");

export type LogsWish =
  /** As the image has it. `sizeBytes`: what journald may take. */
  | { keep: "disk"; sizeBytes?: number }
  /** In memory, of this size at most; brought to the node's disk so often, and when it shuts down. */
  | { keep: "memory"; sizeBytes: number; flushS: number }
  /** In memory, and gone when the node boots again. */
  | { keep: "none"; sizeBytes: number };
