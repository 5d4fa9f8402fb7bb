import type { FileHandle } from "node:fs/promises";

/** The page and file-system block size nearly everywhere: smaller holes save nothing. */
const HOLE_BYTES = 4096;
const ZEROS = Buffer.alloc(1024 * 1024);

/**
 * Writes a file from its start to its end, leaving holes where whole blocks are zero. Bytes below the file's
 * size are final, so that it can be read while it grows.
 */
export class SparseFile {
  readonly #file: FileHandle;
  #position = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  get sizeBytes(): number {
    return this.#position;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (const run of dataRuns(bytes, this.#position)) {
      await writeFully(this.#file, bytes.subarray(run.from, run.to), this.#position + run.from);
    }
    this.#position += bytes.length;
  }

  /** Gives the file its full size, which a hole at the end does not. */
  async finish(): Promise<void> {
    await this.#file.truncate(this.#position);
  }
}

/** Ranges of `bytes` that are not zero, in whole blocks of the file they start at `position` of. */
function* dataRuns(bytes: Uint8Array, position: number): Generator<{ from: number; to: number }> {
  let runStart: number | undefined;
  let from = 0;
  while (from < bytes.length) {
    const to = Math.min(bytes.length, from + HOLE_BYTES - ((position + from) % HOLE_BYTES));
    if (!isZero(bytes.subarray(from, to))) {
      runStart ??= from;
    } else if (runStart !== undefined) {
      yield { from: runStart, to: from };
      runStart = undefined;
    }
    from = to;
  }
  if (runStart !== undefined) yield { from: runStart, to: bytes.length };
}

function isZero(bytes: Uint8Array): boolean {
  return ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
