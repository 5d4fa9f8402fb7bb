/**
 * The records of the jbd2 journal: Linux Documentation/filesystems/ext4/journal.rst and include/linux/jbd2.h. All
 * numbers are big-endian, unlike everything else in ext4. Left out: journals on their own device.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { crc32c, crc32cZeros, verifyChecksum } from "./checksums.ts";

export const JOURNAL_MAGIC = 0xc03b3998;
const HEADER_BYTES = 12;
const BLOCK_TAIL_BYTES = 4;
const SUPERBLOCK_BYTES = 1024;

export const BLOCK_TYPES = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;

export const JOURNAL_COMPATIBLE = { checksum: 0x1 } as const;
export const JOURNAL_INCOMPATIBLE = {
  revoke: 0x1,
  bits64: 0x2,
  asyncCommit: 0x4,
  checksumV2: 0x8,
  checksumV3: 0x10,
  fastCommit: 0x20,
} as const;
const INCOMPATIBLE_KNOWN = Object.values(JOURNAL_INCOMPATIBLE).reduce((all: number, bit) => all | bit, 0);
const FAST_COMMIT_BLOCKS_DEFAULT = 256;

const TAG_FLAGS = { escaped: 1, sameUuid: 2, last: 8 } as const;

export interface JournalSuperblock {
  compatible: number;
  incompatible: number;
  /** Block of the journal where the log begins, and where it wraps around to. */
  firstBlock: number;
  /** The block behind the last one of the log. The fast-commit area follows it. */
  endBlock: number;
  /** Where the oldest transaction starts; 0 when nothing has to be replayed. */
  startBlock: number;
  startSequence: number;
  checksumSeed: number;
  /** Checksums v2 or v3. */
  hasChecksums: boolean;
}

export interface Tag {
  /** Where the block that follows in the log belongs. */
  block: number;
  /** Its first four bytes were the journal's magic and have been replaced by zeros. */
  isEscaped: boolean;
  /** Under v2 the lower 16 bits, under v3 all; unused otherwise. */
  checksum: number;
}

export function readJournalSuperblock(bytes: Uint8Array, journalBlocks: number): JournalSuperblock {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at: number): number => view.getUint32(at);
  const fail = (where: string, why: string): DecodeError => new DecodeError("ext4 journal superblock", where, why);
  const type = u32(4);
  if (u32(0) !== JOURNAL_MAGIC || (type !== BLOCK_TYPES.superblockV1 && type !== BLOCK_TYPES.superblockV2)) {
    throw fail("h_magic (byte 0)", "this is no journal; the image is damaged");
  }
  const hasFeatures = type === BLOCK_TYPES.superblockV2;
  const compatible = hasFeatures ? u32(0x24) : 0;
  const incompatible = hasFeatures ? u32(0x28) : 0;
  const unknown = incompatible & ~INCOMPATIBLE_KNOWN;
  if (unknown !== 0) throw fail("s_feature_incompat (byte 40)", `unknown features 0x${unknown.toString(16)}`);
  const hasChecksums = (incompatible & (JOURNAL_INCOMPATIBLE.checksumV2 | JOURNAL_INCOMPATIBLE.checksumV3)) !== 0;
  if (hasChecksums) {
    let sum = crc32cZeros(crc32c(0xffffffff, bytes, 0, 0xfc), 4);
    sum = crc32c(sum, bytes, 0x100, SUPERBLOCK_BYTES);
    verifyChecksum("ext4 journal superblock", "s_checksum (byte 252)", u32(0xfc), sum);
  }
  if (u32(0x0c) !== bytes.length) throw fail("s_blocksize (byte 12)", `${u32(0x0c)} instead of ${bytes.length}`);
  const hasFastCommits = (incompatible & JOURNAL_INCOMPATIBLE.fastCommit) !== 0;
  const fastCommitBlocks = hasFastCommits ? u32(0x54) || FAST_COMMIT_BLOCKS_DEFAULT : 0;
  const superblock: JournalSuperblock = {
    compatible,
    incompatible,
    firstBlock: u32(0x14),
    endBlock: u32(0x10) - fastCommitBlocks,
    startBlock: u32(0x1c),
    startSequence: u32(0x18),
    checksumSeed: crc32c(0xffffffff, bytes, 0x30, 0x40),
    hasChecksums,
  };
  const { firstBlock, endBlock, startBlock } = superblock;
  if (u32(0x10) > journalBlocks) throw fail("s_maxlen (byte 16)", `${u32(0x10)} blocks in a file of ${journalBlocks}`);
  if (firstBlock < 1 || firstBlock >= endBlock) throw fail("s_first (byte 20)", `${firstBlock} makes no sense`);
  if (startBlock !== 0 && (startBlock < firstBlock || startBlock >= endBlock)) {
    throw fail("s_start (byte 28)", `${startBlock} is outside of the log, blocks ${firstBlock} to ${endBlock}`);
  }
  return superblock;
}

/** Whether the sum at the end of a descriptor or revoke block is right (always, without checksums). */
export function isBlockTailRight(bytes: Uint8Array, { hasChecksums, checksumSeed }: JournalSuperblock): boolean {
  if (!hasChecksums) return true;
  const at = bytes.length - BLOCK_TAIL_BYTES;
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
  return stored === crc32cZeros(crc32c(checksumSeed, bytes, 0, at), BLOCK_TAIL_BYTES);
}

/** The tags of a descriptor block, one for each data block that follows it. */
export function readTags(bytes: Uint8Array, journal: JournalSuperblock): Tag[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isV3 = (journal.incompatible & JOURNAL_INCOMPATIBLE.checksumV3) !== 0;
  const isV2 = (journal.incompatible & JOURNAL_INCOMPATIBLE.checksumV2) !== 0;
  const is64 = (journal.incompatible & JOURNAL_INCOMPATIBLE.bits64) !== 0;
  // Two bytes that v2 meant for the other half of the sum were never used, but stand there.
  const tagBytes = isV3 ? 16 : 8 + (is64 ? 4 : 0) + (isV2 ? 2 : 0);
  const end = bytes.length - (journal.hasChecksums ? BLOCK_TAIL_BYTES : 0);
  const tags: Tag[] = [];
  for (let at = HEADER_BYTES; at + tagBytes <= end; ) {
    const flags = isV3 ? view.getUint32(at + 4) : view.getUint16(at + 6);
    const high = is64 ? view.getUint32(at + 8) : 0;
    tags.push({
      block: view.getUint32(at) + high * 2 ** 32,
      isEscaped: (flags & TAG_FLAGS.escaped) !== 0,
      checksum: isV3 ? view.getUint32(at + 12) : view.getUint16(at + 4),
    });
    if ((flags & TAG_FLAGS.last) !== 0) break;
    at += tagBytes + ((flags & TAG_FLAGS.sameUuid) !== 0 ? 0 : 16);
  }
  return tags;
}

/** The blocks whose older copies in the log must not be replayed. */
export function readRevokedBlocks(bytes: Uint8Array, journal: JournalSuperblock): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const is64 = (journal.incompatible & JOURNAL_INCOMPATIBLE.bits64) !== 0;
  const usedBytes = view.getUint32(HEADER_BYTES);
  if (usedBytes > bytes.length - (journal.hasChecksums ? BLOCK_TAIL_BYTES : 0)) {
    throw new DecodeError("ext4 journal", "revoke block, r_count (byte 12)", `${usedBytes} bytes do not fit`);
  }
  const revoked: number[] = [];
  const step = is64 ? 8 : 4;
  for (let at = HEADER_BYTES + 4; at + step <= usedBytes; at += step) {
    revoked.push(is64 ? view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) : view.getUint32(at));
  }
  return revoked;
}
