/**
 * Inode attributes in flat memory, filled as they are asked for: 64 bytes an inode instead of about 300 as objects, and no
 * work for the garbage collector; 84 more for those that were listed. Pages, because ids may be sparse (FAT).
 */
import type { FileType, InodeAttributes } from "../disk/file-system-image.ts";
import { ATTRIBUTES_BYTES, FSID_AT, writeAttributes } from "../nfs/attributes.ts";
import { XdrWriter } from "../nfs/xdr.ts";

const PAGE_INODES = 64;
const BEHIND_FSID = FSID_AT + 8;
const FILE_TYPES: readonly FileType[] = ["file", "directory", "symlink", "block", "character", "fifo", "socket"];
const NOT_ASKED = 0;
const ABSENT = 255;

/** Where the fields of an inode are. */
const AT = {
  /** `NOT_ASKED`, `ABSENT`, or 1 + the index in FILE_TYPES. */
  type: 0,
  /** 1: `wire` has it. */
  isEncoded: 1,
  mode: 2,
  uid: 4,
  gid: 8,
  linkCount: 12,
  sizeBytes: 16,
  usedBytes: 24,
  deviceMajor: 32,
  deviceMinor: 36,
  atimeNs: 40,
  mtimeNs: 48,
  ctimeNs: 56,
} as const;
const INODE_BYTES = 64;

/** One piece of memory for all fields: an array of 64 numbers takes 300 bytes beside them. */
class Page {
  readonly fields = new DataView(new ArrayBuffer(PAGE_INODES * INODE_BYTES));
  /** The same as `fattr3`, for inodes that listings showed. */
  wire: DataView | undefined;
}

export class AttributeTable {
  readonly #pages = new Map<number, Page>();
  readonly #load: (id: number) => InodeAttributes | undefined;

  constructor(load: (id: number) => InodeAttributes | undefined) {
    this.#load = load;
  }

  get(id: number): InodeAttributes | undefined {
    const { fields } = this.#page(Math.floor(id / PAGE_INODES));
    const at = (id % PAGE_INODES) * INODE_BYTES;
    if (fields.getUint8(at + AT.type) === NOT_ASKED) fill(fields, at, this.#load(id));
    const type = fields.getUint8(at + AT.type);
    if (type === ABSENT) return undefined;
    return {
      type: FILE_TYPES[type - 1]!,
      mode: fields.getUint16(at + AT.mode),
      uid: fields.getUint32(at + AT.uid),
      gid: fields.getUint32(at + AT.gid),
      linkCount: fields.getUint32(at + AT.linkCount),
      sizeBytes: fields.getFloat64(at + AT.sizeBytes),
      usedBytes: fields.getFloat64(at + AT.usedBytes),
      device: { major: fields.getUint32(at + AT.deviceMajor), minor: fields.getUint32(at + AT.deviceMinor) },
      atimeNs: fields.getBigInt64(at + AT.atimeNs),
      mtimeNs: fields.getBigInt64(at + AT.mtimeNs),
      ctimeNs: fields.getBigInt64(at + AT.ctimeNs),
    };
  }

  /** Writes `fattr3`: as it was written the last time, as listings ask for it again and again. False: no such inode. */
  write(id: number, fsid: bigint, writer: XdrWriter): boolean {
    const page = this.#page(Math.floor(id / PAGE_INODES));
    const inode = id % PAGE_INODES;
    const at = inode * ATTRIBUTES_BYTES;
    page.wire ??= new DataView(new ArrayBuffer(PAGE_INODES * ATTRIBUTES_BYTES));
    if (page.fields.getUint8(inode * INODE_BYTES + AT.isEncoded) === 0) {
      const attributes = this.get(id);
      if (attributes === undefined) return false;
      const encoded = new XdrWriter(ATTRIBUTES_BYTES);
      writeAttributes(encoded, 0n, { id, ...attributes });
      new Uint8Array(page.wire.buffer).set(encoded.finish(), at);
      page.fields.setUint8(inode * INODE_BYTES + AT.isEncoded, 1);
    }
    writer.words(page.wire, at, FSID_AT / 4).u64(fsid);
    writer.words(page.wire, at + BEHIND_FSID, (ATTRIBUTES_BYTES - BEHIND_FSID) / 4);
    return true;
  }

  #page(index: number): Page {
    const known = this.#pages.get(index);
    if (known !== undefined) return known;
    const page = new Page();
    this.#pages.set(index, page);
    return page;
  }
}

function fill(fields: DataView, at: number, attributes: InodeAttributes | undefined): void {
  if (attributes === undefined) {
    fields.setUint8(at + AT.type, ABSENT);
    return;
  }
  fields.setUint16(at + AT.mode, attributes.mode);
  fields.setUint32(at + AT.uid, attributes.uid);
  fields.setUint32(at + AT.gid, attributes.gid);
  fields.setUint32(at + AT.linkCount, attributes.linkCount);
  fields.setFloat64(at + AT.sizeBytes, attributes.sizeBytes);
  fields.setFloat64(at + AT.usedBytes, attributes.usedBytes);
  fields.setUint32(at + AT.deviceMajor, attributes.device.major);
  fields.setUint32(at + AT.deviceMinor, attributes.device.minor);
  fields.setBigInt64(at + AT.atimeNs, attributes.atimeNs);
  fields.setBigInt64(at + AT.mtimeNs, attributes.mtimeNs);
  fields.setBigInt64(at + AT.ctimeNs, attributes.ctimeNs);
  fields.setUint8(at + AT.type, 1 + FILE_TYPES.indexOf(attributes.type));
}
