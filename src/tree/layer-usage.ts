/** How much a layer stores: a record of its own, changed in one transaction with the records that it counts. */
import type { KeyValueStore } from "../ports.ts";
import { storedBytes } from "./file-data.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";
import { decodeInode, decodeUsage, inodeRange, usageKey } from "./store-records.ts";

export interface LayerUsage {
  /** Contents in records and data files. Holes count as if they were written. */
  readonly contentBytes: number;
  /** Records of files, also of removed ones. */
  readonly files: number;
}

/** What a file takes beside its contents: its record and a name, with what the store itself needs for them. */
export const FILE_BYTES = 512;

export const NO_USAGE: LayerUsage = { contentBytes: 0, files: 0 };

export function usedBytes({ contentBytes, files }: LayerUsage): number {
  return contentBytes + files * FILE_BYTES;
}

type FileRecord = InodeOverride | typeof REMOVED | undefined;

/** A file's record was `before` and is `after`. */
export function usageAfter(usage: LayerUsage, before: FileRecord, after: FileRecord): LayerUsage {
  const growthBytes = contentBytesOf(after) - contentBytesOf(before);
  const growthFiles = (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
  if (growthBytes === 0 && growthFiles === 0) return usage;
  return { contentBytes: usage.contentBytes + growthBytes, files: usage.files + growthFiles };
}

function contentBytesOf(record: FileRecord): number {
  if (record === undefined || record === REMOVED || record.data === undefined) return 0;
  return storedBytes(record.data, record.attributes.sizeBytes);
}

export function storedUsage(store: KeyValueStore, layerId: number): LayerUsage {
  const bytes = store.get(usageKey(layerId));
  return bytes === undefined ? countedUsage(store, layerId) : decodeUsage(bytes);
}

/** What the stored usage must be. Reads all records of the layer. */
export function countedUsage(store: KeyValueStore, layerId: number): LayerUsage {
  const { from, to } = inodeRange(layerId);
  let usage = NO_USAGE;
  for (const { value } of store.range(from, to)) usage = usageAfter(usage, undefined, decodeInode(value));
  return usage;
}
