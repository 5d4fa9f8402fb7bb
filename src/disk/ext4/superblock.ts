/**
 * The ext4 superblock: Linux Documentation/filesystems/ext4/super.rst. Left out: everything that only a writer
 * needs (mount counts, error records, hints for the allocator, quotas).
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { EXT4_BLOCK_BYTES_MAX, EXT4_GROUPS_MAX } from "../../limits.ts";
import type { ByteSource } from "../../ports.ts";
import { describeFileSystem } from "../describe-file-system.ts";
import { crc32c, verifyChecksum } from "./checksums.ts";
import { COMPATIBLE, type Features, INCOMPATIBLE, READ_ONLY_COMPATIBLE, refuseUnreadable } from "./features.ts";

const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_BYTES = 1024;
const MAGIC = 0xef53;
const CHECKSUM_TYPE_CRC32C = 1;
/** The root directory always has it. */
export const ROOT_ID = 2;

const AT = {
  inodesCount: 0x00,
  blocksCountLow: 0x04,
  firstDataBlock: 0x14,
  logBlockSize: 0x18,
  logClusterSize: 0x1c,
  blocksPerGroup: 0x20,
  inodesPerGroup: 0x28,
  magic: 0x38,
  creatorOs: 0x48,
  revision: 0x4c,
  firstInode: 0x54,
  inodeSize: 0x58,
  featureCompatible: 0x5c,
  featureIncompatible: 0x60,
  featureReadOnlyCompatible: 0x64,
  uuid: 0x68,
  volumeName: 0x78,
  journalInode: 0xe0,
  descriptorSize: 0xfe,
  firstMetaGroup: 0x104,
  blocksCountHigh: 0x150,
  checksumType: 0x175,
  backupGroups: 0x24c,
  quotaInodes: [0x240, 0x244, 0x26c],
  checksumSeed: 0x270,
  orphanFileInode: 0x280,
  checksum: 0x3fc,
} as const;

const CREATOR_HURD = 1;

export interface Superblock {
  features: Features;
  uuid: Uint8Array;
  label: string;
  blockBytes: number;
  /** Blocks per cluster: 1 unless `bigalloc`. */
  clusterBlocks: number;
  blocksCount: number;
  firstDataBlock: number;
  blocksPerGroup: number;
  groupsCount: number;
  inodesCount: number;
  inodesPerGroup: number;
  inodeBytes: number;
  /** Ids below it are the file system's own, except the root. */
  firstInode: number;
  descriptorBytes: number;
  firstMetaGroup: number;
  /** The two groups that hold a copy of the superblock under `sparse_super2`. */
  backupGroups: readonly [number, number];
  /** Under `metadata_csum` and `ea_inode`: the register every checksum begins with. */
  checksumSeed: number;
  verifiesChecksums: boolean;
  /** 0 when there is none, or when it lies on another device. */
  journalInode: number;
  /** Files from `firstInode` on that the file system keeps for itself: quotas, and the list of orphans. */
  ownInodes: ReadonlySet<number>;
}

/** Throws `DecodeError` for anything that is not an ext2, ext3 or ext4 file system this reader understands whole. */
export function readSuperblock(source: ByteSource): Superblock {
  if (source.sizeBytes < SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES) {
    throw new DecodeError("ext4 superblock", "byte 1024", `the source has only ${source.sizeBytes} bytes`);
  }
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  source.readSync(bytes, SUPERBLOCK_OFFSET);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number): number => view.getUint32(at, true);
  const magic = view.getUint16(AT.magic, true);
  if (magic !== MAGIC) refuseOther(source, magic);

  const isFirstRevision = u32(AT.revision) === 0;
  const features: Features = isFirstRevision
    ? { compatible: 0, incompatible: 0, readOnlyCompatible: 0 }
    : {
        compatible: u32(AT.featureCompatible),
        incompatible: u32(AT.featureIncompatible),
        readOnlyCompatible: u32(AT.featureReadOnlyCompatible),
      };
  const verifiesChecksums = (features.readOnlyCompatible & READ_ONLY_COMPATIBLE.metadataChecksum) !== 0;
  if (verifiesChecksums) checkSum(bytes, view);
  refuseUnreadable(features);
  if (u32(AT.creatorOs) === CREATOR_HURD) {
    throw new DecodeError("ext4 superblock", "s_creator_os (byte 72)", "made for GNU Hurd, whose inodes differ");
  }

  const uuid = bytes.slice(AT.uuid, AT.uuid + 16);
  const has64 = (features.incompatible & INCOMPATIBLE.bits64) !== 0;
  const hasBigAllocation = (features.readOnlyCompatible & READ_ONLY_COMPATIBLE.bigAllocation) !== 0;
  const logBlockSize = u32(AT.logBlockSize);
  check(logBlockSize <= Math.log2(EXT4_BLOCK_BYTES_MAX / 1024), "s_log_block_size (byte 24)", `${logBlockSize}`);
  const logClusterSize = hasBigAllocation ? u32(AT.logClusterSize) : logBlockSize;
  check(logClusterSize >= logBlockSize && logClusterSize <= 20, "s_log_cluster_size (byte 28)", `${logClusterSize}`);
  const blocksCount = u32(AT.blocksCountLow) + (has64 ? u32(AT.blocksCountHigh) * 2 ** 32 : 0);
  const firstDataBlock = u32(AT.firstDataBlock);
  const blocksPerGroup = u32(AT.blocksPerGroup);
  const superblock: Superblock = {
    features,
    uuid,
    label: textUntilNul(bytes.subarray(AT.volumeName, AT.volumeName + 16)),
    blockBytes: 1024 << logBlockSize,
    clusterBlocks: 1 << (logClusterSize - logBlockSize),
    blocksCount,
    firstDataBlock,
    blocksPerGroup,
    groupsCount: Math.ceil((blocksCount - firstDataBlock) / blocksPerGroup),
    inodesCount: u32(AT.inodesCount),
    inodesPerGroup: u32(AT.inodesPerGroup),
    inodeBytes: isFirstRevision ? 128 : view.getUint16(AT.inodeSize, true),
    firstInode: isFirstRevision ? 11 : u32(AT.firstInode),
    descriptorBytes: has64 ? view.getUint16(AT.descriptorSize, true) : 32,
    firstMetaGroup: (features.incompatible & INCOMPATIBLE.metaBlockGroups) !== 0 ? u32(AT.firstMetaGroup) : Infinity,
    backupGroups: [u32(AT.backupGroups), u32(AT.backupGroups + 4)],
    checksumSeed:
      (features.incompatible & INCOMPATIBLE.checksumSeed) !== 0 ? u32(AT.checksumSeed) : crc32c(0xffffffff, uuid),
    verifiesChecksums,
    journalInode: (features.compatible & COMPATIBLE.hasJournal) !== 0 ? u32(AT.journalInode) : 0,
    ownInodes: new Set([
      ...((features.readOnlyCompatible & READ_ONLY_COMPATIBLE.quota) !== 0 ? AT.quotaInodes.map(u32) : []),
      ...((features.compatible & COMPATIBLE.orphanFile) !== 0 ? [u32(AT.orphanFileInode)] : []),
    ]),
  };
  checkGeometry(superblock, source.sizeBytes);
  return superblock;
}

function refuseOther(source: ByteSource, magic: number): never {
  const found = describeFileSystem(source);
  const why =
    found === undefined
      ? `found magic 0x${magic.toString(16)} instead of 0xef53; this is no ext2, ext3 or ext4 file system`
      : `this is ${found}, which cannot be read; use an image whose root file system is ext4`;
  throw new DecodeError("ext4 superblock", "s_magic (byte 56)", why);
}

function checkSum(bytes: Uint8Array, view: DataView): void {
  check(bytes[AT.checksumType] === CHECKSUM_TYPE_CRC32C, "s_checksum_type (byte 373)", `${bytes[AT.checksumType]}`);
  const computed = crc32c(0xffffffff, bytes, 0, AT.checksum);
  verifyChecksum("ext4 superblock", "s_checksum (byte 1020)", view.getUint32(AT.checksum, true), computed);
}

function checkGeometry(superblock: Superblock, sourceBytes: number): void {
  const { blockBytes, blocksCount, firstDataBlock, blocksPerGroup, groupsCount, clusterBlocks } = superblock;
  const { inodesCount, inodesPerGroup, inodeBytes, descriptorBytes, firstInode } = superblock;
  const bitsPerBlock = blockBytes * 8;
  check(blocksCount > firstDataBlock, "s_blocks_count (byte 4)", `${blocksCount}`);
  if (blocksCount * blockBytes > sourceBytes) {
    const why = `the file system has ${blocksCount} blocks of ${blockBytes} bytes, but the source only ${sourceBytes} bytes; the image is truncated`;
    throw new DecodeError("ext4 superblock", "s_blocks_count (byte 4)", why);
  }
  check(
    blocksPerGroup > 0 && blocksPerGroup % clusterBlocks === 0 && blocksPerGroup / clusterBlocks <= bitsPerBlock,
    "s_blocks_per_group (byte 32)",
    `${blocksPerGroup}`,
  );
  check(groupsCount <= EXT4_GROUPS_MAX, "s_blocks_per_group (byte 32)", `${groupsCount} groups`);
  const isPowerOfTwo = (value: number): boolean => (value & (value - 1)) === 0;
  check(
    inodeBytes >= 128 && inodeBytes <= blockBytes && isPowerOfTwo(inodeBytes),
    "s_inode_size (byte 88)",
    `${inodeBytes}`,
  );
  check(inodesPerGroup > 0 && inodesPerGroup <= bitsPerBlock, "s_inodes_per_group (byte 40)", `${inodesPerGroup}`);
  check(inodesCount === groupsCount * inodesPerGroup, "s_inodes_count (byte 0)", `${inodesCount}`);
  // Readers keep tables by inode number, so a small image must not claim billions.
  check(inodesCount * inodeBytes <= blocksCount * blockBytes, "s_inodes_count (byte 0)", `${inodesCount}`);
  check(inodesCount >= ROOT_ID && firstInode > ROOT_ID, "s_first_ino (byte 84)", `${firstInode}`);
  check(
    descriptorBytes >= 32 && descriptorBytes <= 1024 && isPowerOfTwo(descriptorBytes),
    "s_desc_size (byte 254)",
    `${descriptorBytes}`,
  );
}

function check(isSound: boolean, where: string, found: string): void {
  if (!isSound) throw new DecodeError("ext4 superblock", where, `${found} makes no sense; the image is damaged`);
}

function textUntilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
