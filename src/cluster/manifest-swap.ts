/** `swap:` of the manifest. Files and partitions are not offered: the kernel does not swap to a file on NFS as it is mounted here. */
import { z } from "zod";
import { byteSize } from "./manifest-values.ts";

const PERCENT_DEFAULT = 50;
/** What is swapped takes about a third of its size, so that twice the memory can pay. */
const PERCENT_MAX = 200;
const SIZE_BYTES_MIN = 16 * 1024 * 1024;

const SIZE_ERROR = "Expected a part of the memory, as 50%, or a size, as 512MiB";

const percent = z
  .string()
  .regex(/^[1-9]\d{0,2}%$/)
  .transform((text) => Number.parseInt(text, 10))
  .refine((value) => value <= PERCENT_MAX)
  .transform((value): SwapSize => ({ percent: value }));

const bytes = byteSize.refine((value) => value >= SIZE_BYTES_MIN).transform((value): SwapSize => ({ bytes: value }));

export const swap = z
  .strictObject({
    kind: z.enum(["zram", "none"]),
    size: z
      .union([percent, bytes], { error: `${SIZE_ERROR}; at most ${PERCENT_MAX}%, at least 16MiB` })
      .exactOptional(),
  })
  .refine(({ kind, size }) => kind === "zram" || size === undefined, { error: "Expected no size with kind none" })
  .transform(
    ({ kind, size }): SwapWish => (kind === "none" ? { kind } : { kind, size: size ?? { percent: PERCENT_DEFAULT } }),
  )
  .describe("Swap: compressed in memory, or none");

/** Of what is swapped, before it is compressed. */
export type SwapSize = { percent: number } | { bytes: number };

export type SwapWish = { kind: "zram"; size: SwapSize } | { kind: "none" };
