/**
 * Extended attributes: Linux Documentation/filesystems/ext4/attributes.rst, and for values in inodes of their own
 * fs/ext4/xattr.c. Names that Linux does not show (index 7 other than ACLs, unknown indexes) are left out.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { EXTENDED_ATTRIBUTE_BYTES_MAX } from "../../limits.ts";
import { crc32c, crc32cU32, crc32cZeros, verifyChecksum } from "./checksums.ts";
import type { Inode } from "./inode.ts";
import type { MetadataBlocks } from "./metadata-blocks.ts";
import { aclFromDisk } from "./posix-acl.ts";

const MAGIC = 0xea020000;
const BODY_HEADER_BYTES = 4;
const BLOCK_HEADER_BYTES = 32;
const BLOCK_CHECKSUM_AT = 16;
const ENTRY_HEADER_BYTES = 16;

const INDEX_ACL_ACCESS = 2;
const INDEX_ACL_DEFAULT = 3;
const INDEX_SYSTEM = 7;

const PREFIXES: ReadonlyMap<number, string> = new Map([
  [1, "user."],
  [INDEX_ACL_ACCESS, "system.posix_acl_access"],
  [INDEX_ACL_DEFAULT, "system.posix_acl_default"],
  [4, "trusted."],
  [6, "security."],
]);

interface RawAttribute {
  index: number;
  name: string;
  /** Id of the inode that holds the value, 0 when `value` does. */
  valueInode: number;
  valueBytes: number;
  /** Empty when another inode holds the value. */
  value: Uint8Array;
}

/** Reads all of the contents of an inode that holds a value, at most `EXTENDED_ATTRIBUTE_BYTES_MAX` bytes. */
export type ReadValueInode = (id: number, sizeBytes: number) => Uint8Array;

export interface AttributeContext {
  blocks: MetadataBlocks;
  checksumSeed: number;
  verifiesChecksums: boolean;
  readValueInode: ReadValueInode;
}

/** What `getfattr -d -m -` shows, by full name. ACLs are as getxattr gives them. */
export function readExtendedAttributes(inode: Inode, context: AttributeContext): Map<string, Uint8Array> {
  const format = `ext4 inode ${inode.id}`;
  const attributes = new Map<string, Uint8Array>();
  for (const raw of [...attributesInInode(inode), ...attributesInBlock(inode, context)]) {
    const prefix = PREFIXES.get(raw.index);
    if (prefix === undefined) continue;
    const value = raw.valueInode === 0 ? raw.value : context.readValueInode(raw.valueInode, raw.valueBytes);
    const isAcl = raw.index === INDEX_ACL_ACCESS || raw.index === INDEX_ACL_DEFAULT;
    attributes.set(prefix + raw.name, isAcl ? aclFromDisk(value, `${format} ${prefix}`) : value.slice());
  }
  return attributes;
}

/** The part of inline contents that did not fit i_block. */
export function inlineDataTail(inode: Inode): Uint8Array {
  const found = attributesInInode(inode).find(({ index, name }) => index === INDEX_SYSTEM && name === "data");
  return found?.value ?? new Uint8Array(0);
}

function attributesInInode({ id, tail }: Inode): RawAttribute[] {
  if (tail.length < BODY_HEADER_BYTES + 4) return [];
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (view.getUint32(0, true) !== MAGIC) return [];
  return parseEntries(tail.subarray(BODY_HEADER_BYTES), 0, `ext4 inode ${id}`, "attributes in the inode");
}

function attributesInBlock(inode: Inode, context: AttributeContext): RawAttribute[] {
  const { attributeBlock: number } = inode;
  if (number === 0) return [];
  const format = `ext4 inode ${inode.id}`;
  const where = `attribute block ${number}`;
  const { bytes, view } = context.blocks.block(number, format, where);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(8, true) !== 1) {
    throw new DecodeError(format, where, "it does not begin as an attribute block; the image is damaged");
  }
  if (context.verifiesChecksums) {
    let sum = crc32cU32(crc32cU32(context.checksumSeed, number % 2 ** 32), Math.floor(number / 2 ** 32));
    sum = crc32cZeros(crc32c(sum, bytes, 0, BLOCK_CHECKSUM_AT), 4);
    sum = crc32c(sum, bytes, BLOCK_CHECKSUM_AT + 4);
    verifyChecksum(format, `${where}, h_checksum`, view.getUint32(BLOCK_CHECKSUM_AT, true), sum);
  }
  return parseEntries(bytes, BLOCK_HEADER_BYTES, format, where);
}

/** Entries from `from` up to four zero bytes; value offsets count from the start of `area`. */
function parseEntries(area: Uint8Array, from: number, format: string, where: string): RawAttribute[] {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const found: RawAttribute[] = [];
  let at = from;
  while (at + 4 <= area.length && view.getUint32(at, true) !== 0) {
    const nameBytes = area[at]!;
    const end = at + ENTRY_HEADER_BYTES + nameBytes;
    if (end > area.length) throw new DecodeError(format, where, `the entry at byte ${at} reaches past the end`);
    const valueOffset = view.getUint16(at + 2, true);
    const valueInode = view.getUint32(at + 4, true);
    const valueBytes = view.getUint32(at + 8, true);
    const name = Buffer.from(area.buffer, area.byteOffset + at + ENTRY_HEADER_BYTES, nameBytes).toString("utf8");
    if (valueBytes > EXTENDED_ATTRIBUTE_BYTES_MAX || (valueInode === 0 && valueOffset + valueBytes > area.length)) {
      const why = `the value of ${JSON.stringify(name)} (${valueBytes} bytes at ${valueOffset}) reaches past the end`;
      throw new DecodeError(format, where, why);
    }
    const value = valueInode === 0 ? area.subarray(valueOffset, valueOffset + valueBytes) : new Uint8Array(0);
    found.push({ index: area[at + 1]!, name, valueInode, valueBytes, value });
    at = (end + 3) & ~3;
  }
  return found;
}
