/** Which inodes are allocated: Linux Documentation/filesystems/ext4/bitmaps.rst. */
import { crc32c, verifyChecksum } from "./checksums.ts";
import type { Groups } from "./group-descriptors.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";
import type { Superblock } from "./superblock.ts";

/** The upper half of a bitmap's checksum exists only in descriptors long enough for it. */
const DESCRIPTOR_BYTES_WITH_WIDE_CHECKSUM = 64;

/** Ids of all allocated inodes, ascending. Groups that were never used have no valid bitmap and are passed over. */
export function* usedInodes(superblock: Superblock, groups: Groups, blocks: MetadataBlocks): Iterable<number> {
  const { inodesPerGroup, groupsCount } = superblock;
  for (let group = 0; group < groupsCount; group++) {
    const usable = inodesPerGroup - groups.unusedInodes[group]!;
    if (usable === 0) continue;
    const format = `ext4 inode bitmap of group ${group}`;
    const { bytes } = blocks.block(groups.inodeBitmaps[group]!, format, "bg_inode_bitmap");
    if (superblock.verifiesChecksums) verifyBitmap(superblock, bytes, groups.inodeBitmapChecksums[group]!, format);
    for (let index = 0; index < usable; index++) {
      if ((bytes[index >>> 3]! >>> (index & 7)) & 1) yield group * inodesPerGroup + index + 1;
    }
  }
}

function verifyBitmap(superblock: Superblock, bytes: Uint8Array, stored: number, format: string): void {
  const sum = crc32c(superblock.checksumSeed, bytes, 0, superblock.inodesPerGroup / 8);
  const isWide = superblock.descriptorBytes >= DESCRIPTOR_BYTES_WITH_WIDE_CHECKSUM;
  verifyChecksum(format, "bg_inode_bitmap_csum", stored, isWide ? sum : sum & 0xffff);
}
