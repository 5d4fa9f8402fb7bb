/** The block maps of ext2 and ext3: Linux Documentation/filesystems/ext4/blockmap.rst. They have no checksums. */
import { DecodeError } from "../../bytes/decode-error.ts";
import { FileRuns } from "./file-runs.ts";
import type { Inode } from "./inode.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";

const DIRECT_BLOCKS = 12;
/** Behind the direct blocks: a block of numbers, a block of those, and a block of those. */
const INDIRECT_LEVELS = [1, 2, 3];

/** Maps only as far as the file is long. */
export function runsOfBlockMap(inode: Inode, blocks: MetadataBlocks): FileRuns {
  const format = `ext4 inode ${inode.id}`;
  const numbersPerBlock = blocks.blockBytes / 4;
  const fileBlocks = Math.ceil(inode.attributes.sizeBytes / blocks.blockBytes);
  const runs = new FileRuns();
  const area = new DataView(inode.blockArea.buffer, inode.blockArea.byteOffset, inode.blockArea.byteLength);

  // A sound file has no block twice, so a map that needs more blocks than the disk has is a loop.
  let visited = 0;

  /** Adds what `number` stands for, a data block or `level` levels of maps. */
  function add(number: number, level: number, fileBlock: number): void {
    if (number === 0) return;
    if (level === 0) {
      runs.add(fileBlock, number, 1, format, blocks.blocksCount);
      return;
    }
    if (++visited > blocks.blocksCount) throw new DecodeError(format, "block map", "it has more blocks than the disk");
    const { view } = blocks.block(number, format, `indirect block of file block ${fileBlock}`);
    const spanBlocks = numbersPerBlock ** (level - 1);
    for (let index = 0; index < numbersPerBlock; index++) {
      const first = fileBlock + index * spanBlocks;
      if (first >= fileBlocks) return;
      add(view.getUint32(index * 4, true), level - 1, first);
    }
  }

  for (let index = 0; index < Math.min(DIRECT_BLOCKS, fileBlocks); index++)
    add(area.getUint32(index * 4, true), 0, index);
  let fileBlock = DIRECT_BLOCKS;
  for (const level of INDIRECT_LEVELS) {
    if (fileBlock >= fileBlocks) break;
    add(area.getUint32((DIRECT_BLOCKS + level - 1) * 4, true), level, fileBlock);
    fileBlock += numbersPerBlock ** level;
  }
  return runs;
}
