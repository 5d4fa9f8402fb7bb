/**
 * Directories: Linux Documentation/filesystems/ext4/directory.rst. Hash trees are read as the plain lists they are
 * made to look like: interior nodes are entries without an inode. Look-ups do not use the hashes; a whole directory
 * is parsed once.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileName, fileNameFromBytes } from "../../bytes/file-name.ts";
import type { DirectoryEntry } from "../file-system-image.ts";
import { crc32c, crc32cZeros, verifyChecksum } from "./checksums.ts";

const ENTRY_HEADER_BYTES = 8;
const TAIL_BYTES = 12;
/** The file type that marks the entry which holds the checksum. */
const TAIL_FILE_TYPE = 0xde;
const HASH_ENTRY_BYTES = 8;
/** A node's entries stand behind one empty entry; the root's behind `.`, `..` and its own header. */
const HASH_NODE_ENTRIES_AT = 8;
const HASH_ROOT_ENTRIES_AT = 32;

export interface DirectoryRules {
  format: string;
  inodesCount: number;
  /** Without `filetype` the length of a name has 16 bits. */
  hasFileTypes: boolean;
}

/** Adds the names in one block (or one part of an inline directory) to `entries`; returns the id of `..` if it is there. */
export function parseEntries(
  bytes: Uint8Array,
  where: string,
  rules: DirectoryRules,
  entries: DirectoryEntry[],
): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (at: number, why: string): DecodeError =>
    new DecodeError(rules.format, `${where}, entry at byte ${at}`, why);
  let parent: number | undefined;
  let at = 0;
  while (at < bytes.length) {
    if (at + ENTRY_HEADER_BYTES > bytes.length) throw fail(at, "it is cut off");
    const id = view.getUint32(at, true);
    const recordBytes = entryBytes(view.getUint16(at + 4, true), bytes.length);
    const nameBytes = rules.hasFileTypes ? bytes[at + 6]! : view.getUint16(at + 6, true);
    if (recordBytes < ENTRY_HEADER_BYTES + nameBytes || at + recordBytes > bytes.length) {
      throw fail(at, `${recordBytes} bytes with a name of ${nameBytes} do not fit`);
    }
    if (id !== 0) {
      if (id > rules.inodesCount) throw fail(at, `inode ${id} of ${rules.inodesCount}`);
      const name = nameAt(bytes, at + ENTRY_HEADER_BYTES, nameBytes, () => fail(at, "it has no valid name"));
      if (name === "..") parent = id;
      else if (name !== ".") entries.push({ name, id });
    }
    at += recordBytes;
  }
  return parent;
}

/** 64 KiB does not fit 16 bits: 0 and 65535 stand for the whole block, and the two lowest bits for bits 16 and 17. */
function entryBytes(stored: number, blockBytes: number): number {
  if (stored === 0 || stored === 0xffff) return blockBytes;
  return (stored & 0xfffc) | ((stored & 3) << 16);
}

function nameAt(bytes: Uint8Array, at: number, countBytes: number, invalid: () => DecodeError): FileName {
  const name = fileNameFromBytes(bytes.subarray(at, at + countBytes));
  if (countBytes === 0 || countBytes > 255 || name.includes("/") || name.includes("\0")) throw invalid();
  return name;
}

/** Checks the sum of one block under `metadata_csum`. `seed` is the directory inode's. */
export function verifyDirectoryBlock(
  bytes: Uint8Array,
  format: string,
  where: string,
  seed: number,
  isIndexed: boolean,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hashEntriesAt = isIndexed ? findHashEntries(view) : undefined;
  if (hashEntriesAt !== undefined) {
    verifyHashNode(bytes, view, hashEntriesAt, format, where, seed);
    return;
  }
  const tail = bytes.length - TAIL_BYTES;
  const hasTail =
    view.getUint32(tail, true) === 0 &&
    view.getUint16(tail + 4, true) === TAIL_BYTES &&
    bytes[tail + 6] === 0 &&
    bytes[tail + 7] === TAIL_FILE_TYPE;
  if (!hasTail)
    throw new DecodeError(format, where, "the entry that holds the checksum is missing; the image is damaged");
  verifyChecksum(format, `${where}, det_checksum`, view.getUint32(tail + 8, true), crc32c(seed, bytes, 0, tail));
}

/** Where a hash tree's root or interior node has its entries; `undefined` for a leaf. */
function findHashEntries(view: DataView): number | undefined {
  const blockBytes = view.byteLength;
  const firstBytes = entryBytes(view.getUint16(4, true), blockBytes);
  if (firstBytes === blockBytes && view.getUint32(0, true) === 0) return HASH_NODE_ENTRIES_AT;
  const isRoot =
    firstBytes === 12 &&
    entryBytes(view.getUint16(16, true), blockBytes) === blockBytes - 12 &&
    view.getUint8(29) === 8;
  return isRoot ? HASH_ROOT_ENTRIES_AT : undefined;
}

/** The sum covers the entries in use and stands behind those there is room for. */
function verifyHashNode(
  bytes: Uint8Array,
  view: DataView,
  entriesAt: number,
  format: string,
  where: string,
  seed: number,
): void {
  const limit = view.getUint16(entriesAt, true);
  const count = view.getUint16(entriesAt + 2, true);
  const tail = entriesAt + limit * HASH_ENTRY_BYTES;
  if (count > limit || tail + 8 > bytes.length) {
    throw new DecodeError(format, `${where}, hash tree node`, `${count} of ${limit} entries do not fit`);
  }
  let sum = crc32c(seed, bytes, 0, entriesAt + count * HASH_ENTRY_BYTES);
  sum = crc32cZeros(crc32c(sum, bytes, tail, tail + 4), 4);
  verifyChecksum(format, `${where}, dt_checksum`, view.getUint32(tail + 4, true), sum);
}
