/**
 * Which bytes of a plain file lie in a layer, and which show through from the layer below. Pure.
 *
 * Of the file's first `inheritedBytes`, those in `ranges` lie in the layer's data file and the others below.
 * After that everything lies in the data file, whose holes are zeros. A file with `inline` content has no data file.
 */
export interface FileData {
  readonly inheritedBytes: number;
  /** Pairs of start and end, ascending, not touching each other, all within `inheritedBytes`. */
  readonly ranges: readonly number[];
  /** The whole content, `sizeBytes` long. */
  readonly inline: Uint8Array | undefined;
}

/** Data are copied up from below in blocks of this size. */
export const BLOCK_BYTES = 4096;

export const EMPTY_DATA: FileData = { inheritedBytes: 0, ranges: [], inline: new Uint8Array(0) };

export interface Segment {
  from: "layer" | "below";
  start: number;
  end: number;
}

/** The file's bytes from `start` to `end` (not beyond its size) by where they lie, in order and without gaps. */
export function segmentsOf(data: FileData, start: number, end: number): Segment[] {
  const segments: Segment[] = [];
  let at = start;
  const upTo = (from: Segment["from"], limit: number) => {
    const segmentEnd = Math.min(limit, end);
    if (segmentEnd > at) segments.push({ from, start: at, end: segmentEnd });
    at = Math.max(at, segmentEnd);
  };
  for (let index = firstRangeEndingAfter(data.ranges, start); index < data.ranges.length && at < end; index += 2) {
    upTo("below", data.ranges[index]!);
    upTo("layer", data.ranges[index + 1]!);
  }
  upTo("below", data.inheritedBytes);
  upTo("layer", end);
  return segments;
}

/** Index of the pair; binary search, as a busy file may have many. */
function firstRangeEndingAfter(ranges: readonly number[], offset: number): number {
  let low = 0;
  let high = ranges.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle * 2 + 1]! > offset) high = middle;
    else low = middle + 1;
  }
  return low * 2;
}

/** What a write from `start` to `end` puts into the layer: whole blocks where data are inherited, else just itself. */
export function blocksAround(data: FileData, start: number, end: number): { start: number; end: number } {
  const blockStart = start - (start % BLOCK_BYTES);
  const blockEnd = Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
  return {
    start: start < data.inheritedBytes ? blockStart : start,
    end: end < data.inheritedBytes ? Math.min(blockEnd, data.inheritedBytes) : end,
  };
}

/** How many bytes more the layer stores after a write from `start` to `end` to a file of `sizeBytes`. */
export function growthOf(data: FileData, sizeBytes: number, start: number, end: number): number {
  const newSizeBytes = Math.max(sizeBytes, end);
  if (data.inline !== undefined) return newSizeBytes - data.inline.length;
  const blocks = blocksAround(data, start, end);
  const after = withRange(data, blocks.start, blocks.end);
  return storedBytes(after, newSizeBytes) - storedBytes(data, sizeBytes);
}

/** The layer now holds the bytes from `start` to `end`. */
export function withRange(data: FileData, start: number, end: number): FileData {
  const limit = Math.min(end, data.inheritedBytes);
  if (start >= limit) return data;
  const { ranges } = data;
  let first = firstRangeEndingAfter(ranges, start - 1);
  let mergedStart = start;
  let mergedEnd = limit;
  const before = ranges.slice(0, first);
  while (first < ranges.length && ranges[first]! <= limit) {
    mergedStart = Math.min(mergedStart, ranges[first]!);
    mergedEnd = Math.max(mergedEnd, ranges[first + 1]!);
    first += 2;
  }
  return detachedIfCovered({ ...data, ranges: [...before, mergedStart, mergedEnd, ...ranges.slice(first)] });
}

/** Ranges of one file; its record then has 12 KiB. */
export const RANGES_MAX = 1024;

/**
 * When a file has become too scattered: the narrower half of the gaps between its ranges, to be copied up, and what
 * it is then. Every copy halves the number of ranges, so that all of them together copy the file once at most.
 */
export function narrowGaps(data: FileData): { gaps: { start: number; end: number }[]; closed: FileData } {
  const all: { start: number; end: number }[] = [];
  for (let index = 2; index < data.ranges.length; index += 2) {
    all.push({ start: data.ranges[index - 1]!, end: data.ranges[index]! });
  }
  const byWidth = all.toSorted((one, other) => one.end - one.start - (other.end - other.start));
  const gaps = byWidth.slice(0, Math.ceil(all.length / 2));
  const filled = new Set(gaps);
  const ranges = [data.ranges[0]!];
  for (const gap of all) if (!filled.has(gap)) ranges.push(gap.start, gap.end);
  ranges.push(data.ranges.at(-1)!);
  return { gaps, closed: detachedIfCovered({ ...data, ranges }) };
}

/** Once nothing shows through, the layer below is not needed. */
function detachedIfCovered(data: FileData): FileData {
  const [start, end] = data.ranges;
  return start === 0 && end === data.inheritedBytes ? { ...data, inheritedBytes: 0, ranges: [] } : data;
}

/** The file was cut to `sizeBytes`: what lay after that is not seen again, should it grow. */
export function truncated(data: FileData, sizeBytes: number): FileData {
  if (sizeBytes === 0) return EMPTY_DATA;
  if (data.inline !== undefined) return { ...data, inline: data.inline.slice(0, sizeBytes) };
  if (sizeBytes >= data.inheritedBytes) return data;
  const ranges: number[] = [];
  for (let index = 0; index < data.ranges.length && data.ranges[index]! < sizeBytes; index += 2) {
    ranges.push(data.ranges[index]!, Math.min(data.ranges[index + 1]!, sizeBytes));
  }
  return detachedIfCovered({ ...data, inheritedBytes: sizeBytes, ranges });
}

/** Whether a file of this size has a data file in the layer. */
export function hasDataFile(data: FileData, sizeBytes: number): boolean {
  return data.inline === undefined && storedBytes(data, sizeBytes) > 0;
}

/** Bytes that the layer itself stores for a file of this size. */
export function storedBytes(data: FileData, sizeBytes: number): number {
  if (data.inline !== undefined) return data.inline.length;
  let bytes = Math.max(0, sizeBytes - data.inheritedBytes);
  for (let index = 0; index < data.ranges.length; index += 2) bytes += data.ranges[index + 1]! - data.ranges[index]!;
  return bytes;
}
