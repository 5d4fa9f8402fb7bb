/** Writes as a client sends them: several pieces one after another, somewhere in the file or at its end. */
import { type FileModel, sizeOf, type Write } from "./file-model.ts";
import type { SeededRandom } from "./seeded-random.ts";

export const OFFSET_MAX = 100_000;
const PIECE_BYTES_MAX = 30_000;
/** Files of such pieces live in records. */
const SMALL_PIECE_BYTES_MAX = 400;
const SMALL_FILE_BYTES_MAX = 4096;

export function planWrites(random: SeededRandom, content: FileModel, nextNumber: () => number): Write[] {
  let offset = random.chance(0.5) ? Math.min(sizeOf(content), OFFSET_MAX) : random.below(OFFSET_MAX);
  const isSmall = random.chance(0.3);
  if (isSmall && sizeOf(content) < SMALL_FILE_BYTES_MAX) offset = Math.min(offset, sizeOf(content));
  const writes: Write[] = [];
  for (let count = 1 + random.below(5); count > 0; count -= 1) {
    const sizeBytes = 1 + random.below(isSmall ? SMALL_PIECE_BYTES_MAX : PIECE_BYTES_MAX);
    writes.push({ number: nextNumber(), offset, sizeBytes });
    offset += sizeBytes;
  }
  return writes;
}
