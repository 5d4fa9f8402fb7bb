/** Reads the contents of files that nodes wrote from where they lie: record, data file or the layers below. */
import type { Awaitable } from "../ports.ts";
import { segmentsOf } from "./file-data.ts";
import { copyFrom } from "./generated-layer.ts";
import type { Layer } from "./layer.ts";
import { dataFileName, type OpenDataFiles } from "./open-data-files.ts";
import type { InodeOverride } from "./overlay-layer.ts";

/** Where what a layer says of a file leads. */
export interface ContentSource {
  readonly layerId: number;
  readonly shared: { readonly files: OpenDataFiles };
  /** Has the contents that show through. */
  readonly inherited: Pick<Layer, "readSync" | "read">;
}

/** Fills `target` from `offset`; how many bytes there were. */
export function readContentSync(
  source: ContentSource,
  id: number,
  inode: InodeOverride,
  target: Uint8Array,
  offset: number,
): number {
  const wanted = within(inode, target, offset);
  const data = inode.data!;
  if (data.inline !== undefined) return copyFrom(data.inline, wanted, offset);
  for (const { from, start, end } of segmentsOf(data, offset, offset + wanted.length)) {
    const part = wanted.subarray(start - offset, end - offset);
    const count =
      from === "below"
        ? source.inherited.readSync(id, part, start)
        : source.shared.files.readSync(dataFileName(source.layerId, id), part, start);
    part.fill(0, count);
  }
  return wanted.length;
}

/** The same; answers at once where no disk is needed. */
export function readContent(
  source: ContentSource,
  id: number,
  inode: InodeOverride,
  target: Uint8Array,
  offset: number,
): Awaitable<number> {
  const wanted = within(inode, target, offset);
  const data = inode.data!;
  if (data.inline !== undefined) return copyFrom(data.inline, wanted, offset);
  const readDataFile = (part: Uint8Array, start: number) =>
    source.shared.files.use(dataFileName(source.layerId, id), { make: false }, ({ file }) => file.read(part, start));
  const reads = segmentsOf(data, offset, offset + wanted.length).map(async ({ from, start, end }) => {
    const part = wanted.subarray(start - offset, end - offset);
    const count = await (from === "below" ? source.inherited.read(id, part, start) : readDataFile(part, start));
    part.fill(0, count);
  });
  return Promise.all(reads).then(() => wanted.length);
}

/** The part of `target` that the file reaches. */
function within(inode: InodeOverride, target: Uint8Array, offset: number): Uint8Array {
  const left = Math.max(0, inode.attributes.sizeBytes - offset);
  return target.subarray(0, Math.min(target.length, left));
}
