import { DecodeError } from "../../bytes/decode-error.ts";
import type { ByteSource, FileRange } from "../../ports.ts";
import { runsOfBlockMap } from "./block-map.ts";
import { inlineDataTail } from "./extended-attributes.ts";
import { runsOfExtentTree } from "./extent-tree.ts";
import { type FileMap, FileMaps } from "./file-maps.ts";
import { INODE_FLAGS, type Inode } from "./inode.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";

/** One read of the source straight into the caller's memory. */
interface Segment {
  target: Uint8Array;
  sourceOffset: number;
}

/** Reads what files contain. Maps are kept for the files read lately. */
export class FileContents {
  readonly #source: ByteSource;
  readonly #blocks: MetadataBlocks;
  readonly #verifiesChecksums: boolean;
  readonly #inodeOf: (id: number) => Inode;
  readonly #maps = new FileMaps((id) => this.mapOf(this.#inodeOf(id)));

  /** `inodeOf` gives the inode of a file, or throws. */
  constructor(source: ByteSource, blocks: MetadataBlocks, verifiesChecksums: boolean, inodeOf: (id: number) => Inode) {
    this.#source = source;
    this.#blocks = blocks;
    this.#verifiesChecksums = verifiesChecksums;
    this.#inodeOf = inodeOf;
  }

  /** The map of an inode that is at hand, not kept. */
  mapOf(inode: Inode): FileMap {
    const { sizeBytes } = inode.attributes;
    if ((inode.flags & INODE_FLAGS.inlineData) !== 0) return { sizeBytes, inline: inlineContents(inode) };
    const isTree = (inode.flags & INODE_FLAGS.extents) !== 0;
    const runs = isTree
      ? runsOfExtentTree(inode, this.#blocks, this.#verifiesChecksums)
      : runsOfBlockMap(inode, this.#blocks);
    return { sizeBytes, runs };
  }

  readSync(id: number, target: Uint8Array, offset: number): number {
    return this.readMapSync(this.#maps.get(id), target, offset);
  }

  /** The map is read at once even so, when it is not kept: a block or two, once for each file. */
  readNow(id: number, target: Uint8Array, offset: number): number | undefined {
    const map = this.#maps.get(id);
    const filled = inRange(map, target, offset);
    for (const segment of this.#segments(map, filled, offset)) {
      if (!this.#source.readNow(segment.target, segment.sourceOffset)) return undefined;
    }
    return filled.length;
  }

  rangeNow(id: number, offset: number, lengthBytes: number): FileRange | undefined {
    const map = this.#maps.get(id);
    if (!("runs" in map) || offset + lengthBytes > map.sizeBytes) return undefined;
    const { blockBytes } = this.#blocks;
    const fileBlock = Math.floor(offset / blockBytes);
    const skippedBytes = offset - fileBlock * blockBytes;
    const { sourceBlock, countBlocks } = map.runs.find(fileBlock);
    if (sourceBlock === 0 || countBlocks * blockBytes - skippedBytes < lengthBytes) return undefined;
    return this.#source.rangeNow?.(sourceBlock * blockBytes + skippedBytes, lengthBytes);
  }

  async read(id: number, target: Uint8Array, offset: number): Promise<number> {
    const map = this.#maps.get(id);
    const filled = inRange(map, target, offset);
    for (const segment of this.#segments(map, filled, offset)) {
      await this.#source.read(segment.target, segment.sourceOffset);
    }
    return filled.length;
  }

  /** Fills `target` from a map that is not kept; returns how many bytes there were. */
  readMapSync(map: FileMap, target: Uint8Array, offset: number): number {
    const filled = inRange(map, target, offset);
    for (const segment of this.#segments(map, filled, offset))
      this.#source.readSync(segment.target, segment.sourceOffset);
    return filled.length;
  }

  /** Fills in what needs no reading (holes, inline contents) and tells the rest. */
  #segments(map: FileMap, target: Uint8Array, offset: number): Segment[] {
    if (!("runs" in map)) {
      target.set(map.inline.subarray(offset, offset + target.length));
      return [];
    }
    const { blockBytes } = this.#blocks;
    const segments: Segment[] = [];
    for (let done = 0; done < target.length; ) {
      const fileBlock = Math.floor((offset + done) / blockBytes);
      const skippedBytes = offset + done - fileBlock * blockBytes;
      const { sourceBlock, countBlocks } = map.runs.find(fileBlock);
      const countBytes = Math.min(countBlocks * blockBytes - skippedBytes, target.length - done);
      const piece = target.subarray(done, done + countBytes);
      if (sourceBlock === 0) piece.fill(0);
      else segments.push({ target: piece, sourceOffset: sourceBlock * blockBytes + skippedBytes });
      done += countBytes;
    }
    return segments;
  }
}

function inRange({ sizeBytes }: FileMap, target: Uint8Array, offset: number): Uint8Array {
  return target.subarray(0, Math.max(0, Math.min(target.length, sizeBytes - offset)));
}

/** The first 60 bytes lie in i_block, the others in an extended attribute of the inode. */
function inlineContents(inode: Inode): Uint8Array {
  const { sizeBytes } = inode.attributes;
  const tail = inlineDataTail(inode);
  const capacityBytes = inode.blockArea.length + tail.length;
  if (sizeBytes > capacityBytes) {
    const why = `${sizeBytes} bytes in an inode that has room for ${capacityBytes}`;
    throw new DecodeError(`ext4 inode ${inode.id}`, "i_size (byte 4) of inline data", why);
  }
  return Buffer.concat([inode.blockArea, tail], sizeBytes);
}
