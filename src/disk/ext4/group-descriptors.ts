/**
 * Block group descriptors: Linux Documentation/filesystems/ext4/group_descr.rst. Read once when the file system
 * is opened, and kept as flat arrays: every inode look-up starts here.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { crc16, crc32c, crc32cU32, crc32cZeros, verifyChecksum } from "./checksums.ts";
import { COMPATIBLE, INCOMPATIBLE, READ_ONLY_COMPATIBLE } from "./features.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";
import type { Superblock } from "./superblock.ts";

const AT = {
  inodeBitmapLow: 0x04,
  inodeTableLow: 0x08,
  freeBlocksLow: 0x0c,
  flags: 0x12,
  inodeBitmapChecksumLow: 0x1a,
  unusedInodesLow: 0x1c,
  checksum: 0x1e,
  /** From here on only in descriptors of 64 bytes and more (`64bit`). */
  blockBitmapHigh: 0x20,
  inodeBitmapHigh: 0x24,
  inodeTableHigh: 0x28,
  freeBlocksHigh: 0x2c,
  unusedInodesHigh: 0x32,
  inodeBitmapChecksumHigh: 0x3a,
} as const;
const SHORT_BYTES = 32;
const INODES_UNINITIALIZED = 0x1;

export interface Groups {
  /** First block of each group's inode table. */
  inodeTables: Float64Array;
  inodeBitmaps: Float64Array;
  inodeBitmapChecksums: Uint32Array;
  /** How many inodes at the end of each group's table were never used, so that neither they nor their bits are valid. */
  unusedInodes: Uint32Array;
  freeBytes: number;
}

export function readGroups(superblock: Superblock, blocks: MetadataBlocks): Groups {
  const { groupsCount, descriptorBytes, blockBytes, inodesPerGroup, inodeBytes, features } = superblock;
  const isLong = descriptorBytes > SHORT_BYTES;
  const hasUninitialized =
    (features.readOnlyCompatible & (READ_ONLY_COMPATIBLE.metadataChecksum | READ_ONLY_COMPATIBLE.groupChecksum)) !== 0;
  const tableBlocks = Math.ceil((inodesPerGroup * inodeBytes) / blockBytes);
  const perBlock = blockBytes / descriptorBytes;
  const groups: Groups = {
    inodeTables: new Float64Array(groupsCount),
    inodeBitmaps: new Float64Array(groupsCount),
    inodeBitmapChecksums: new Uint32Array(groupsCount),
    unusedInodes: new Uint32Array(groupsCount),
    freeBytes: 0,
  };
  let freeClusters = 0;
  for (let group = 0; group < groupsCount; group++) {
    const format = `ext4 group descriptor ${group}`;
    const descriptorBlock = descriptorBlockOf(superblock, Math.floor(group / perBlock));
    const block = blocks.block(descriptorBlock, format, "descriptor table");
    const start = (group % perBlock) * descriptorBytes;
    const bytes = block.bytes.subarray(start, start + descriptorBytes);
    const u16 = (at: number): number => block.view.getUint16(start + at, true);
    const u32 = (at: number): number => block.view.getUint32(start + at, true);
    const wide16 = (low: number, high: number): number => u16(low) + (isLong ? u16(high) * 2 ** 16 : 0);
    const wide32 = (low: number, high: number): number => u32(low) + (isLong ? u32(high) * 2 ** 32 : 0);

    checkSum(superblock, group, bytes, u16(AT.checksum), `${format} (block ${descriptorBlock})`);
    const table = wide32(AT.inodeTableLow, AT.inodeTableHigh);
    if (table < 1 || table + tableBlocks > superblock.blocksCount) {
      throw new DecodeError(format, "bg_inode_table (byte 8)", `block ${table} is outside of the file system`);
    }
    const unused = Math.min(inodesPerGroup, wide16(AT.unusedInodesLow, AT.unusedInodesHigh));
    const isUninitialized = (u16(AT.flags) & INODES_UNINITIALIZED) !== 0;
    groups.inodeTables[group] = table;
    groups.inodeBitmaps[group] = wide32(AT.inodeBitmapLow, AT.inodeBitmapHigh);
    groups.inodeBitmapChecksums[group] = wide16(AT.inodeBitmapChecksumLow, AT.inodeBitmapChecksumHigh);
    groups.unusedInodes[group] = !hasUninitialized ? 0 : isUninitialized ? inodesPerGroup : unused;
    freeClusters += wide16(AT.freeBlocksLow, AT.freeBlocksHigh);
  }
  groups.freeBytes = freeClusters * superblock.clusterBlocks * blockBytes;
  return groups;
}

/** Where the `index`th block of descriptors lies: all behind the superblock, or, under `meta_bg`, spread out. */
function descriptorBlockOf(superblock: Superblock, index: number): number {
  const { blockBytes, descriptorBytes, blocksPerGroup, firstDataBlock, firstMetaGroup } = superblock;
  const superblockBlock = blockBytes === 1024 ? 1 : 0;
  if (index < firstMetaGroup) return superblockBlock + 1 + index;
  const group = index * (blockBytes / descriptorBytes);
  let superblockBlocks = hasSuperblock(superblock, group) ? 1 : 0;
  // `bigalloc` with 1 KiB blocks starts group 0 at block 0, where the boot sector pushes everything one further.
  if (blockBytes === 1024 && index === 0 && firstDataBlock === 0) superblockBlocks++;
  return firstDataBlock + group * blocksPerGroup + superblockBlocks;
}

/** Whether a group begins with a copy of the superblock: under `sparse_super`, group 1 and the powers of 3, 5 and 7. */
export function hasSuperblock(
  { features, backupGroups }: Pick<Superblock, "features" | "backupGroups">,
  group: number,
): boolean {
  if (group === 0) return true;
  if ((features.compatible & COMPATIBLE.sparseSuper2) !== 0) return backupGroups.includes(group);
  if ((features.readOnlyCompatible & READ_ONLY_COMPATIBLE.sparseSuper) === 0 || group === 1) return true;
  return [3, 5, 7].some((base) => base ** Math.round(Math.log(group) / Math.log(base)) === group);
}

function checkSum(superblock: Superblock, group: number, bytes: Uint8Array, stored: number, format: string): void {
  const { verifiesChecksums, checksumSeed, uuid, features } = superblock;
  let computed: number;
  if (verifiesChecksums) {
    let sum = crc32c(crc32cU32(checksumSeed, group), bytes, 0, AT.checksum);
    sum = crc32c(crc32cZeros(sum, 2), bytes, AT.checksum + 2);
    computed = sum & 0xffff;
  } else if ((features.readOnlyCompatible & READ_ONLY_COMPATIBLE.groupChecksum) !== 0) {
    const number = Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24);
    computed = crc16(crc16(crc16(0xffff, uuid), number), bytes, 0, AT.checksum);
    if ((features.incompatible & INCOMPATIBLE.bits64) !== 0) computed = crc16(computed, bytes, AT.checksum + 2);
  } else return;
  verifyChecksum(format, "bg_checksum (byte 30)", stored, computed);
}
