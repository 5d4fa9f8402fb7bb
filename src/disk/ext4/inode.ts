/**
 * Inodes: Linux Documentation/filesystems/ext4/inodes.rst. Left out: what only a writer needs (i_version, project
 * ids), and creation times, which NFSv3 cannot tell.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileType, type InodeAttributes, occupiedBytes } from "../file-system-image.ts";
import { crc32c, crc32cU32, crc32cZeros, verifyChecksum } from "./checksums.ts";
import { INCOMPATIBLE, READ_ONLY_COMPATIBLE } from "./features.ts";
import type { Groups } from "./group-descriptors.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";
import type { Superblock } from "./superblock.ts";

const AT = {
  mode: 0x00,
  uidLow: 0x02,
  sizeLow: 0x04,
  atime: 0x08,
  ctime: 0x0c,
  mtime: 0x10,
  gidLow: 0x18,
  linksCount: 0x1a,
  blocksLow: 0x1c,
  flags: 0x20,
  block: 0x28,
  generation: 0x64,
  attributeBlockLow: 0x68,
  sizeHigh: 0x6c,
  blocksHigh: 0x74,
  attributeBlockHigh: 0x76,
  uidHigh: 0x78,
  gidHigh: 0x7a,
  checksumLow: 0x7c,
  extraBytes: 0x80,
  checksumHigh: 0x82,
  ctimeExtra: 0x84,
  mtimeExtra: 0x88,
  atimeExtra: 0x8c,
} as const;
const GOOD_OLD_BYTES = 128;
/** i_block: fifteen block numbers, an extent tree root, a short symlink, a device number or inline data. */
const BLOCK_AREA_BYTES = 60;

export const INODE_FLAGS = {
  indexed: 0x1000,
  hugeFile: 0x40000,
  extents: 0x80000,
  attributeInode: 0x200000,
  inlineData: 0x10000000,
} as const;

const FILE_TYPES: ReadonlyMap<number, FileType> = new Map([
  [0x1000, "fifo"],
  [0x2000, "character"],
  [0x4000, "directory"],
  [0x6000, "block"],
  [0x8000, "file"],
  [0xa000, "symlink"],
  [0xc000, "socket"],
]);

const NO_DEVICE = { major: 0, minor: 0 };

export interface Inode {
  id: number;
  attributes: InodeAttributes;
  flags: number;
  /** What every checksum of this inode's blocks begins with. */
  checksumSeed: number;
  /** The 60 bytes of i_block. */
  blockArea: Uint8Array;
  /** What follows the fixed fields: extended attributes inside of the inode. */
  tail: Uint8Array;
  /** Block of extended attributes, 0 for none. */
  attributeBlock: number;
}

export class InodeTable {
  readonly #superblock: Superblock;
  readonly #groups: Groups;
  readonly #blocks: MetadataBlocks;
  readonly #has64: boolean;
  readonly #hasHugeFiles: boolean;
  readonly #hasLargeDirectories: boolean;

  constructor(superblock: Superblock, groups: Groups, blocks: MetadataBlocks) {
    this.#superblock = superblock;
    this.#groups = groups;
    this.#blocks = blocks;
    const { incompatible, readOnlyCompatible } = superblock.features;
    this.#has64 = (incompatible & INCOMPATIBLE.bits64) !== 0;
    this.#hasHugeFiles = (readOnlyCompatible & READ_ONLY_COMPATIBLE.hugeFile) !== 0;
    this.#hasLargeDirectories = (incompatible & INCOMPATIBLE.largeDirectories) !== 0;
  }

  /** The inode, or `undefined` when it is not in use: never allocated, or deleted but still open when the image was made. */
  read(id: number): Inode | undefined {
    const raw = this.#raw(id);
    if (raw === undefined) return undefined;
    const { bytes, view, start } = raw;
    if (view.getUint16(start + AT.mode, true) === 0 || view.getUint16(start + AT.linksCount, true) === 0) {
      return undefined;
    }
    const format = `ext4 inode ${id}`;
    const extraBytes = bytes.length > GOOD_OLD_BYTES ? view.getUint16(start + AT.extraBytes, true) : 0;
    if (extraBytes % 4 !== 0 || GOOD_OLD_BYTES + extraBytes > bytes.length) {
      throw new DecodeError(format, "i_extra_isize (byte 128)", `${extraBytes} does not fit ${bytes.length} bytes`);
    }
    const checksumSeed = this.#checksumSeed(id, view.getUint32(start + AT.generation, true));
    if (this.#superblock.verifiesChecksums) verifyInode(format, checksumSeed, bytes, extraBytes);
    const attributeBlockHigh = this.#has64 ? view.getUint16(start + AT.attributeBlockHigh, true) : 0;
    return {
      id,
      attributes: this.#attributes(format, view, start, extraBytes),
      flags: view.getUint32(start + AT.flags, true),
      checksumSeed,
      blockArea: bytes.subarray(AT.block, AT.block + BLOCK_AREA_BYTES),
      tail: bytes.subarray(GOOD_OLD_BYTES + extraBytes),
      attributeBlock: view.getUint32(start + AT.attributeBlockLow, true) + attributeBlockHigh * 2 ** 32,
    };
  }

  #raw(id: number): { bytes: Uint8Array; view: DataView; start: number } | undefined {
    const { inodesPerGroup, inodesCount, inodeBytes, blockBytes } = this.#superblock;
    if (!Number.isInteger(id) || id < 1 || id > inodesCount) return undefined;
    const group = Math.floor((id - 1) / inodesPerGroup);
    const index = (id - 1) % inodesPerGroup;
    if (index >= inodesPerGroup - this.#groups.unusedInodes[group]!) return undefined;
    const offset = index * inodeBytes;
    const number = this.#groups.inodeTables[group]! + Math.floor(offset / blockBytes);
    const { bytes, view } = this.#blocks.block(number, `ext4 inode ${id}`, "inode table");
    const start = offset % blockBytes;
    return { bytes: bytes.subarray(start, start + inodeBytes), view, start };
  }

  #checksumSeed(id: number, generation: number): number {
    return crc32cU32(crc32cU32(this.#superblock.checksumSeed, id), generation);
  }

  #attributes(format: string, view: DataView, start: number, extraBytes: number): InodeAttributes {
    const u16 = (at: number): number => view.getUint16(start + at, true);
    const u32 = (at: number): number => view.getUint32(start + at, true);
    const time = (at: number, extraAt: number): bigint =>
      timeNs(view.getInt32(start + at, true), extraAt + 4 <= GOOD_OLD_BYTES + extraBytes ? u32(extraAt) : 0);
    const mode = u16(AT.mode);
    const type = FILE_TYPES.get(mode & 0xf000);
    if (type === undefined) throw new DecodeError(format, "i_mode (byte 0)", `no file type is 0x${mode.toString(16)}`);

    const hasSizeHigh = type === "file" || (type === "directory" && this.#hasLargeDirectories);
    const sizeBytes = u32(AT.sizeLow) + (hasSizeHigh ? u32(AT.sizeHigh) * 2 ** 32 : 0);
    if (!Number.isSafeInteger(sizeBytes)) throw new DecodeError(format, "i_size_high (byte 108)", `${sizeBytes} bytes`);
    const flags = u32(AT.flags);
    let used = u32(AT.blocksLow) * 512;
    if (this.#hasHugeFiles) {
      const unitBytes = (flags & INODE_FLAGS.hugeFile) !== 0 ? this.#superblock.blockBytes : 512;
      used = (u32(AT.blocksLow) + u16(AT.blocksHigh) * 2 ** 32) * unitBytes;
    }
    // Linux counts inline contents as whole sectors, so that programs do not take the file for a hole.
    if (type === "file" && (flags & INODE_FLAGS.inlineData) !== 0) used += occupiedBytes(sizeBytes);
    return {
      type,
      mode: mode & 0o7777,
      uid: u16(AT.uidLow) + u16(AT.uidHigh) * 2 ** 16,
      gid: u16(AT.gidLow) + u16(AT.gidHigh) * 2 ** 16,
      linkCount: u16(AT.linksCount),
      sizeBytes,
      usedBytes: used,
      device: type === "block" || type === "character" ? device(u32(AT.block), u32(AT.block + 4)) : NO_DEVICE,
      atimeNs: time(AT.atime, AT.atimeExtra),
      mtimeNs: time(AT.mtime, AT.mtimeExtra),
      ctimeNs: time(AT.ctime, AT.ctimeExtra),
    };
  }
}

function verifyInode(format: string, seed: number, bytes: Uint8Array, extraBytes: number): void {
  const hasHigh = GOOD_OLD_BYTES + extraBytes >= AT.checksumHigh + 2;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let sum = crc32c(seed, bytes, 0, AT.checksumLow);
  sum = crc32cZeros(sum, 2);
  if (hasHigh) {
    sum = crc32c(sum, bytes, AT.checksumLow + 2, AT.checksumHigh);
    sum = crc32c(crc32cZeros(sum, 2), bytes, AT.checksumHigh + 2);
  } else {
    sum = crc32c(sum, bytes, AT.checksumLow + 2) & 0xffff;
  }
  const stored = view.getUint16(AT.checksumLow, true) + (hasHigh ? view.getUint16(AT.checksumHigh, true) * 2 ** 16 : 0);
  verifyChecksum(format, "i_checksum (byte 124)", stored, sum);
}

/** `extra` holds 30 bits of nanoseconds above two bits that carry the signed seconds on from 2038 to 2446. */
function timeNs(seconds: number, extra: number): bigint {
  return BigInt(seconds + (extra & 3) * 2 ** 32) * 1_000_000_000n + BigInt(extra >>> 2);
}

/** i_block[0] has the 16-bit number of old; when it is 0, i_block[1] has Linux's 12-bit major and 20-bit minor. */
function device(old: number, extended: number): { major: number; minor: number } {
  if (old !== 0) return { major: (old >>> 8) & 0xff, minor: old & 0xff };
  return { major: (extended >>> 8) & 0xfff, minor: (extended & 0xff) | ((extended >>> 12) & 0xfff00) };
}
