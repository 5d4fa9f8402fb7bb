/**
 * The file allocation table: for each cluster the next one of the same file (Microsoft FAT specification 1.03,
 * section 4). Only the first copy is read.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import type { ByteSource } from "../../ports.ts";
import type { FileExtent } from "../file-system-image.ts";
import { readBytes } from "../sub-source.ts";
import { type FatKind, type FatLayout, FIRST_CLUSTER } from "./boot-sector.ts";

/** Entries from here on mark the last cluster of a chain. */
const END_OF_CHAIN = { fat12: 0xff8, fat16: 0xfff8, fat32: 0xffffff8 } as const;
/** The upper four bits of a FAT32 entry are reserved. */
const FAT32_ENTRY_MASK = 0x0fffffff;

export class ClusterChains {
  readonly freeClusters: number;
  readonly #layout: FatLayout;
  /** Up to the last cluster in use: those behind it are free, which is 0. */
  readonly #next: Uint32Array | Uint16Array;

  constructor(source: ByteSource, layout: FatLayout) {
    this.#layout = layout;
    const next = decodeTable(readBytes(source, layout.tableByte, layout.tableBytes), layout.kind);
    let freeClusters = 0;
    for (let cluster = FIRST_CLUSTER; cluster < FIRST_CLUSTER + layout.clusterCount; cluster += 1) {
      if (next[cluster] === 0) freeClusters += 1;
    }
    this.freeClusters = freeClusters;
    // Boot partitions are mostly empty behind their files, and the table of one of 512 MiB takes a megabyte.
    this.#next = next.slice(0, 1 + next.findLastIndex((entry) => entry !== 0));
  }

  /** The runs of a file of a known size. Throws `DecodeError` when its chain is shorter. */
  extentsOfFile(firstCluster: number, sizeBytes: number, what: string): FileExtent[] {
    const { clusterBytes } = this.#layout;
    const extents: FileExtent[] = [];
    if (sizeBytes === 0) return extents;
    const clustersNeeded = Math.ceil(sizeBytes / clusterBytes);
    let clusters = 0;
    for (const cluster of this.#chain(firstCluster, what)) {
      appendCluster(extents, this.#startByte(cluster), clusterBytes);
      clusters += 1;
      if (clusters === clustersNeeded) return extents;
    }
    throw new DecodeError(
      this.#layout.kind,
      what,
      `it has ${sizeBytes} bytes, but its chain of clusters ends after ${clusters * clusterBytes}`,
    );
  }

  /** The runs of a directory, whose size is that of its chain, up to `bytesMax`. */
  extentsOfDirectory(firstCluster: number, bytesMax: number, what: string): FileExtent[] {
    const { clusterBytes, kind } = this.#layout;
    const extents: FileExtent[] = [];
    let sizeBytes = 0;
    for (const cluster of this.#chain(firstCluster, what)) {
      sizeBytes += clusterBytes;
      if (sizeBytes > bytesMax) throw new DecodeError(kind, what, `it is larger than ${bytesMax} bytes`);
      appendCluster(extents, this.#startByte(cluster), clusterBytes);
    }
    return extents;
  }

  *clustersIn(extents: readonly FileExtent[]): Generator<number> {
    const { dataByte, clusterBytes } = this.#layout;
    for (const { sourceOffset, lengthBytes } of extents) {
      const first = FIRST_CLUSTER + (sourceOffset - dataByte) / clusterBytes;
      for (let index = 0; index < lengthBytes / clusterBytes; index += 1) yield first + index;
    }
  }

  #startByte(cluster: number): number {
    return this.#layout.dataByte + (cluster - FIRST_CLUSTER) * this.#layout.clusterBytes;
  }

  *#chain(firstCluster: number, what: string): Generator<number> {
    const { clusterCount, kind } = this.#layout;
    let cluster = firstCluster;
    for (let length = 0; cluster < END_OF_CHAIN[kind]; length += 1) {
      if (cluster < FIRST_CLUSTER || cluster >= FIRST_CLUSTER + clusterCount) {
        throw new DecodeError(kind, what, `its chain of clusters leads to cluster ${cluster}, which does not exist`);
      }
      if (length === clusterCount) throw new DecodeError(kind, what, "its chain of clusters is a loop");
      yield cluster;
      cluster = this.#next[cluster] ?? 0;
    }
  }
}

function appendCluster(extents: FileExtent[], sourceOffset: number, clusterBytes: number): void {
  const last = extents.at(-1);
  if (last !== undefined && last.sourceOffset + last.lengthBytes === sourceOffset) {
    last.lengthBytes += clusterBytes;
    return;
  }
  const fileOffset = last === undefined ? 0 : last.fileOffset + last.lengthBytes;
  extents.push({ fileOffset, sourceOffset, lengthBytes: clusterBytes });
}

function decodeTable(bytes: Uint8Array, kind: FatKind): Uint32Array | Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (kind === "fat32") {
    const entries = new Uint32Array(bytes.length >> 2);
    for (let index = 0; index < entries.length; index += 1) {
      entries[index] = view.getUint32(index * 4, true) & FAT32_ENTRY_MASK;
    }
    return entries;
  }
  if (kind === "fat16") {
    return Uint16Array.from({ length: bytes.length >> 1 }, (_, index) => view.getUint16(index * 2, true));
  }
  // Two 12-bit entries share three bytes.
  return Uint16Array.from({ length: Math.floor((bytes.length * 2) / 3) }, (_, index) => {
    const pair = view.getUint16(index + (index >> 1), true);
    return index & 1 ? pair >> 4 : pair & 0xfff;
  });
}
