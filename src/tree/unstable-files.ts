import { occupiedBytes } from "../disk/file-system-image.ts";
import { type FileData, storedBytes } from "./file-data.ts";
import type { InodeOverride, REMOVED } from "./overlay-layer.ts";

/** A file's state after unstable writes. Replaced, never changed, so that a flush can tell whether it is the newest. */
export interface UnstableFile {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly data: FileData;
}

/** The files of a layer that are ahead of their records. */
export class UnstableFiles {
  readonly #files = new Map<number, UnstableFile>();
  #storedBytes = 0;

  get size(): number {
    return this.#files.size;
  }

  /** What all of them store; more than they add to their records. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** What they store more than their records. */
  growthBytes(recordOf: (id: number) => InodeOverride | typeof REMOVED | undefined): number {
    let bytes = this.#storedBytes;
    for (const id of this.#files.keys()) {
      const record = recordOf(id);
      if (typeof record === "object") bytes -= storedBytes(record.data!, record.attributes.sizeBytes);
    }
    return bytes;
  }

  has(id: number): boolean {
    return this.#files.has(id);
  }

  get(id: number): UnstableFile | undefined {
    return this.#files.get(id);
  }

  entries(): IterableIterator<[number, UnstableFile]> {
    return this.#files.entries();
  }

  set(id: number, file: UnstableFile): void {
    this.delete(id);
    this.#files.set(id, file);
    this.#storedBytes += storedBytes(file.data, file.sizeBytes);
  }

  delete(id: number): void {
    const file = this.#files.get(id);
    if (file === undefined) return;
    this.#files.delete(id);
    this.#storedBytes -= storedBytes(file.data, file.sizeBytes);
  }

  clear(): void {
    this.#files.clear();
    this.#storedBytes = 0;
  }
}

/** The record with what unstable writes did to it. */
export function merged(inode: InodeOverride, { sizeBytes, mtimeNs, data }: UnstableFile): InodeOverride {
  const usedBytes = occupiedBytes(sizeBytes);
  const ctimeNs = mtimeNs > inode.attributes.ctimeNs ? mtimeNs : inode.attributes.ctimeNs;
  return { ...inode, attributes: { ...inode.attributes, sizeBytes, usedBytes, mtimeNs, ctimeNs }, data };
}
