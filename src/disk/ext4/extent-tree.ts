/** Extent trees: Linux Documentation/filesystems/ext4/ifork.rst, "Extent Tree". */
import { DecodeError } from "../../bytes/decode-error.ts";
import { crc32c, verifyChecksum } from "./checksums.ts";
import { FileRuns } from "./file-runs.ts";
import type { Inode } from "./inode.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";

const MAGIC = 0xf30a;
const HEADER_BYTES = 12;
/** An index entry and an extent have the same size. */
const ENTRY_BYTES = 12;
const CHECKSUM_BYTES = 4;
/** Enough for 2^32 blocks of 1 KiB; Linux refuses more. */
const DEPTH_MAX = 5;
/** A longer length marks an extent of that length less this, reserved but not written. */
const WRITTEN_BLOCKS_MAX = 32768;
const FILE_BLOCKS_MAX = 2 ** 32;

export function runsOfExtentTree(inode: Inode, blocks: MetadataBlocks, verifiesChecksums: boolean): FileRuns {
  const format = `ext4 inode ${inode.id}`;
  const runs = new FileRuns();
  // Entries ascend without overlap within what the parent's entry spans, so no block can be visited twice for long.
  let visited = 0;

  function walk(node: Uint8Array, where: string, depthExpected: number | undefined, from: number, to: number): void {
    const view = new DataView(node.buffer, node.byteOffset, node.byteLength);
    const { entries, depth } = readHeader(format, where, view, depthExpected);
    let next = from;
    for (let entry = 0; entry < entries; entry++) {
      const at = HEADER_BYTES + entry * ENTRY_BYTES;
      const first = view.getUint32(at, true);
      if (first < next || first >= to) throw new DecodeError(format, where, `entry ${entry} is not in ascending order`);
      if (depth === 0) {
        next = addExtent(view, at, first, where);
        if (next > to) throw new DecodeError(format, where, `extent ${entry} reaches into the next one`);
      } else {
        const end = entry + 1 < entries ? view.getUint32(at + ENTRY_BYTES, true) : to;
        descend(view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32, depth - 1, first, end);
        next = first + 1;
      }
    }
  }

  function addExtent(view: DataView, at: number, first: number, where: string): number {
    const length = view.getUint16(at + 4, true);
    const isWritten = length <= WRITTEN_BLOCKS_MAX;
    const countBlocks = isWritten ? length : length - WRITTEN_BLOCKS_MAX;
    if (countBlocks === 0) throw new DecodeError(format, where, `the extent of file block ${first} is empty`);
    const sourceBlock = view.getUint32(at + 8, true) + view.getUint16(at + 6, true) * 2 ** 32;
    if (isWritten) runs.add(first, sourceBlock, countBlocks, format, blocks.blocksCount);
    return first + countBlocks;
  }

  function descend(number: number, depth: number, from: number, to: number): void {
    if (++visited > blocks.blocksCount)
      throw new DecodeError(format, "extent tree", "it has more blocks than the disk");
    const where = `extent block ${number}`;
    const { bytes } = blocks.block(number, format, where);
    if (verifiesChecksums) verifyBlock(format, where, inode.checksumSeed, bytes);
    walk(bytes, where, depth, from, to);
  }

  walk(inode.blockArea, "extent root", undefined, 0, FILE_BLOCKS_MAX);
  return runs;
}

function readHeader(
  format: string,
  where: string,
  view: DataView,
  depthExpected: number | undefined,
): { entries: number; depth: number } {
  const magic = view.getUint16(0, true);
  const entries = view.getUint16(2, true);
  const depth = view.getUint16(6, true);
  if (magic !== MAGIC) throw new DecodeError(format, where, `magic 0x${magic.toString(16)} instead of 0xf30a`);
  if (entries > view.getUint16(4, true) || HEADER_BYTES + entries * ENTRY_BYTES > view.byteLength) {
    throw new DecodeError(format, where, `${entries} entries do not fit`);
  }
  if (depth > DEPTH_MAX || (depthExpected !== undefined && depth !== depthExpected)) {
    throw new DecodeError(format, where, `depth ${depth} instead of ${depthExpected ?? `at most ${DEPTH_MAX}`}`);
  }
  return { entries, depth };
}

/** The sum stands behind the last entry there is room for. */
function verifyBlock(format: string, where: string, seed: number, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = HEADER_BYTES + view.getUint16(4, true) * ENTRY_BYTES;
  if (at + CHECKSUM_BYTES > bytes.length)
    throw new DecodeError(format, where, "eh_max leaves no room for the checksum");
  verifyChecksum(format, `${where}, et_checksum`, view.getUint32(at, true), crc32c(seed, bytes, 0, at));
}
