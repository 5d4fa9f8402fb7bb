/**
 * Inode attributes in flat typed arrays, filled as they are asked for: 60 bytes an inode instead of about 300 as
 * objects, and no work for the garbage collector; 85 more for those that were listed. Pages, because ids may be sparse
 * (FAT).
 */
import type { FileType, InodeAttributes } from "../disk/file-system-image.ts";
import { ATTRIBUTES_BYTES, FSID_AT, writeAttributes } from "../nfs/attributes.ts";
import { XdrWriter } from "../nfs/xdr.ts";

const PAGE_INODES = 64;
const BEHIND_FSID = FSID_AT + 8;
const FILE_TYPES: readonly FileType[] = ["file", "directory", "symlink", "block", "character", "fifo", "socket"];
const NOT_ASKED = 0;
const ABSENT = 255;

class Page {
  /** `NOT_ASKED`, `ABSENT`, or 1 + the index in FILE_TYPES. */
  readonly type = new Uint8Array(PAGE_INODES);
  readonly mode = new Uint16Array(PAGE_INODES);
  readonly uid = new Uint32Array(PAGE_INODES);
  readonly gid = new Uint32Array(PAGE_INODES);
  readonly linkCount = new Uint32Array(PAGE_INODES);
  readonly sizeBytes = new Float64Array(PAGE_INODES);
  readonly usedBytes = new Float64Array(PAGE_INODES);
  readonly deviceMajor = new Uint32Array(PAGE_INODES);
  readonly deviceMinor = new Uint32Array(PAGE_INODES);
  readonly times = new BigInt64Array(PAGE_INODES * 3);
  /** The same as `fattr3`, for inodes that listings showed. */
  wire: DataView | undefined;
  readonly isEncoded = new Uint8Array(PAGE_INODES);
}

export class AttributeTable {
  readonly #pages = new Map<number, Page>();
  readonly #load: (id: number) => InodeAttributes | undefined;

  constructor(load: (id: number) => InodeAttributes | undefined) {
    this.#load = load;
  }

  get(id: number): InodeAttributes | undefined {
    const page = this.#page(Math.floor(id / PAGE_INODES));
    const at = id % PAGE_INODES;
    if (page.type[at] === NOT_ASKED) fill(page, at, this.#load(id));
    const type = page.type[at]!;
    if (type === ABSENT) return undefined;
    return {
      type: FILE_TYPES[type - 1]!,
      mode: page.mode[at]!,
      uid: page.uid[at]!,
      gid: page.gid[at]!,
      linkCount: page.linkCount[at]!,
      sizeBytes: page.sizeBytes[at]!,
      usedBytes: page.usedBytes[at]!,
      device: { major: page.deviceMajor[at]!, minor: page.deviceMinor[at]! },
      atimeNs: page.times[at * 3]!,
      mtimeNs: page.times[at * 3 + 1]!,
      ctimeNs: page.times[at * 3 + 2]!,
    };
  }

  /** Writes `fattr3`: as it was written the last time, as listings ask for it again and again. False: no such inode. */
  write(id: number, fsid: bigint, writer: XdrWriter): boolean {
    const page = this.#page(Math.floor(id / PAGE_INODES));
    const inode = id % PAGE_INODES;
    const at = inode * ATTRIBUTES_BYTES;
    page.wire ??= new DataView(new ArrayBuffer(PAGE_INODES * ATTRIBUTES_BYTES));
    if (page.isEncoded[inode] === 0) {
      const attributes = this.get(id);
      if (attributes === undefined) return false;
      const encoded = new XdrWriter(ATTRIBUTES_BYTES);
      writeAttributes(encoded, 0n, { id, ...attributes });
      new Uint8Array(page.wire.buffer).set(encoded.finish(), at);
      page.isEncoded[inode] = 1;
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

function fill(page: Page, at: number, attributes: InodeAttributes | undefined): void {
  if (attributes === undefined) {
    page.type[at] = ABSENT;
    return;
  }
  page.mode[at] = attributes.mode;
  page.uid[at] = attributes.uid;
  page.gid[at] = attributes.gid;
  page.linkCount[at] = attributes.linkCount;
  page.sizeBytes[at] = attributes.sizeBytes;
  page.usedBytes[at] = attributes.usedBytes;
  page.deviceMajor[at] = attributes.device.major;
  page.deviceMinor[at] = attributes.device.minor;
  page.times.set([attributes.atimeNs, attributes.mtimeNs, attributes.ctimeNs], at * 3);
  page.type[at] = 1 + FILE_TYPES.indexOf(attributes.type);
}
