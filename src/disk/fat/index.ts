/**
 * FAT12, FAT16 and FAT32 with long names, read-only, as the Linux `vfat` driver shows them
 * (Microsoft FAT specification 1.03). FAT has no owners, modes, links or symlinks: everything is root's, mode 0755.
 * A file's id is the byte position of its 8.3 entry in the volume, divided by 32: stable while the image is.
 * Left out: exFAT, DOS attributes, and repair of a damaged first FAT from the second one.
 */
import type { FileName } from "../../bytes/file-name.ts";
import type { ByteSource } from "../../ports.ts";
import type { DirectoryEntry, FileExtent, FileSystemImage, InodeAttributes } from "../file-system-image.ts";
import { DIRECTORY_ENTRY_BYTES, type FatLayout, readFatLayout } from "./boot-sector.ts";
import { ClusterChains } from "./cluster-chains.ts";
import { type FatDirectory, foldName, indexTree, ROOT_ID, type TreeIndex } from "./tree-index.ts";

const MODE = 0o755;

/** Opens a volume and reads all its directories. Throws `DecodeError` when any of them is damaged. */
export function openFat(source: ByteSource): FileSystemImage {
  const layout = readFatLayout(source);
  const chains = new ClusterChains(source, layout);
  return new FatImage(source, layout, chains, indexTree(source, layout, chains));
}

class FatImage implements FileSystemImage {
  readonly kind: string;
  readonly label: string;
  readonly uuid: string;
  readonly rootId = ROOT_ID;
  readonly lastId: number;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  readonly caseSensitive = false;
  readonly #source: ByteSource;
  readonly #layout: FatLayout;
  readonly #chains: ClusterChains;
  readonly #index: TreeIndex;
  /** Of the file read last: files are read in sequence, block by block. */
  #lastRead: { id: number; extents: FileExtent[] } | undefined;

  constructor(source: ByteSource, layout: FatLayout, chains: ClusterChains, index: TreeIndex) {
    this.#source = source;
    this.#layout = layout;
    this.#chains = chains;
    this.#index = index;
    this.kind = layout.kind;
    this.label = index.label ?? layout.label;
    this.uuid = layout.uuid;
    this.lastId = Math.floor(source.sizeBytes / DIRECTORY_ENTRY_BYTES);
    this.sizeBytes = layout.clusterCount * layout.clusterBytes;
    this.freeBytes = chains.freeClusters * layout.clusterBytes;
  }

  attributes(id: number): InodeAttributes | undefined {
    const directory = this.#index.directories.get(id);
    const entry = this.#index.entries.get(id);
    if (directory === undefined && entry === undefined) return undefined;
    const sizeBytes = directory?.sizeBytes ?? entry?.sizeBytes ?? 0;
    const { clusterBytes } = this.#layout;
    return {
      type: directory === undefined ? "file" : "directory",
      mode: MODE,
      uid: 0,
      gid: 0,
      linkCount: directory === undefined ? 1 : 2 + directory.subdirectories,
      sizeBytes,
      usedBytes: Math.ceil(sizeBytes / clusterBytes) * clusterBytes,
      device: { major: 0, minor: 0 },
      atimeNs: entry?.atimeNs ?? 0n,
      mtimeNs: entry?.mtimeNs ?? 0n,
      ctimeNs: entry?.mtimeNs ?? 0n,
    };
  }

  entries(directoryId: number): DirectoryEntry[] {
    return this.#directory(directoryId).entries;
  }

  lookup(directoryId: number, name: FileName): number | undefined {
    return this.#directory(directoryId).idByName.get(foldName(name));
  }

  parent(directoryId: number): number {
    return this.#directory(directoryId).parentId;
  }

  symlinkTarget(id: number): FileName {
    throw new Error(`Cannot read symlink ${id}: FAT has no symlinks`);
  }

  extendedAttributes(): Map<string, Uint8Array> {
    return new Map();
  }

  readFileSync(id: number, target: Uint8Array, offset: number): number {
    let filledBytes = 0;
    for (const piece of this.#pieces(id, target, offset)) {
      this.#source.readSync(piece.target, piece.sourceOffset);
      filledBytes += piece.target.length;
    }
    return filledBytes;
  }

  readFileNow(id: number, target: Uint8Array, offset: number): number | undefined {
    let filledBytes = 0;
    for (const piece of this.#pieces(id, target, offset)) {
      if (!this.#source.readNow(piece.target, piece.sourceOffset)) return undefined;
      filledBytes += piece.target.length;
    }
    return filledBytes;
  }

  async readFile(id: number, target: Uint8Array, offset: number): Promise<number> {
    let filledBytes = 0;
    for (const piece of this.#pieces(id, target, offset)) {
      await this.#source.read(piece.target, piece.sourceOffset);
      filledBytes += piece.target.length;
    }
    return filledBytes;
  }

  usedIds(): Iterable<number> {
    return [ROOT_ID, ...[...this.#index.entries.keys()].sort((a, b) => a - b)];
  }

  close(): void {
    this.#source.close();
  }

  #directory(id: number): FatDirectory {
    const directory = this.#index.directories.get(id);
    if (directory === undefined) throw new Error(`Cannot read directory ${id}: this volume has no such directory`);
    return directory;
  }

  /** The parts of `target` that lie contiguously in the volume, in order. */
  *#pieces(id: number, target: Uint8Array, offset: number): Generator<{ target: Uint8Array; sourceOffset: number }> {
    const sizeBytes = this.#fileSize(id);
    const end = Math.min(offset + target.length, sizeBytes);
    for (const extent of this.#extentsOfFile(id, sizeBytes)) {
      const from = Math.max(offset, extent.fileOffset);
      const to = Math.min(end, extent.fileOffset + extent.lengthBytes);
      if (from >= to) continue;
      yield {
        target: target.subarray(from - offset, to - offset),
        sourceOffset: extent.sourceOffset + from - extent.fileOffset,
      };
    }
  }

  #fileSize(id: number): number {
    const entry = this.#index.entries.get(id);
    if (entry === undefined || entry.isDirectory)
      throw new Error(`Cannot read file ${id}: this volume has no such file`);
    return entry.sizeBytes;
  }

  #extentsOfFile(id: number, sizeBytes: number): FileExtent[] {
    if (this.#lastRead?.id === id) return this.#lastRead.extents;
    const firstCluster = this.#index.entries.get(id)?.firstCluster ?? 0;
    const extents = this.#chains.extentsOfFile(firstCluster, sizeBytes, `file ${id}`);
    this.#lastRead = { id, extents };
    return extents;
  }
}
