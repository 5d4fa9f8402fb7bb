/** Puts bytes into a data file, with the blocks of the layer below that they lie in. */
import type { DataFile } from "../ports.ts";
import { blocksAround, type FileData, narrowGaps, RANGES_MAX, segmentsOf, withRange } from "./file-data.ts";
import type { NodeLayer } from "./node-layer.ts";
import type { OpenFile } from "./open-data-files.ts";

const COPY_BYTES = 1024 * 1024;
const ZEROS = new Uint8Array(COPY_BYTES);

/** A file as it is before a write. */
export interface WrittenFile {
  id: number;
  sizeBytes: number;
  data: FileData;
}

export class DataFileWriter {
  readonly #layer: NodeLayer;

  constructor(layer: NodeLayer) {
    this.#layer = layer;
  }

  /** Writes `parts` from `start` to `end`; what the file's data are then. Nothing is durable yet. */
  async write(
    open: OpenFile,
    file: WrittenFile,
    parts: readonly Uint8Array[],
    start: number,
    end: number,
  ): Promise<FileData> {
    const { id, sizeBytes, data } = file;
    if (data.inline !== undefined) {
      await this.trim(open, 0);
      await open.file.write([data.inline], 0);
      await open.file.write(parts, start);
      return { inheritedBytes: 0, ranges: [], inline: undefined };
    }
    await this.trim(open, sizeBytes);
    const blocks = blocksAround(data, start, end);
    await this.#copyUp(id, open, data, blocks.start, start);
    await this.#copyUp(id, open, data, end, blocks.end);
    await open.file.write(parts, start);
    const written = withRange(data, blocks.start, blocks.end);
    if (written.ranges.length <= 2 * RANGES_MAX) return written;
    const { gaps, closed } = narrowGaps(written);
    for (const gap of gaps) await this.#copyUp(id, open, written, gap.start, gap.end, { keepHoles: true });
    return closed;
  }

  /** Cuts off what is not the file's. */
  async trim(open: OpenFile, sizeBytes: number): Promise<void> {
    if (open.isTrimmed) return;
    await open.file.truncate(sizeBytes);
    open.isTrimmed = true;
  }

  /**
   * `keepHoles`: the file goes on behind `end`, and zeros that it has there already are not written. What is below may be
   * gigabytes of nothing: the image of a file system is.
   */
  async #copyUp(
    id: number,
    { file }: OpenFile,
    data: FileData,
    start: number,
    end: number,
    { keepHoles = false } = {},
  ): Promise<void> {
    if (start >= end) return;
    for (const segment of segmentsOf(data, start, end)) {
      if (segment.from === "layer") continue;
      for (let at = segment.start; at < segment.end; at += COPY_BYTES) {
        const bytes = new Uint8Array(Math.min(COPY_BYTES, segment.end - at));
        await this.#layer.inherited.read(id, bytes, at);
        if (keepHoles && isZero(bytes) && (await hasZeros(file, at, bytes.length))) continue;
        await file.write([bytes], at);
      }
    }
  }
}

/** Not only in a hole: bytes of a write that was lost with the power may lie there. */
async function hasZeros(file: DataFile, at: number, countBytes: number): Promise<boolean> {
  const bytes = new Uint8Array(countBytes);
  return (await file.read(bytes, at)) === countBytes && isZero(bytes);
}

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;
}
