/**
 * A directory of an image as READDIRPLUS answers with it: `entryplus3` after `entryplus3`, RFC 1813 3.3.17. An image never
 * changes, so its nodes' listings are copied from here in one go; what differs between them, fsid and handle, is left zero.
 */
import type { InodeAttributes } from "../disk/file-system-image.ts";
import { writeAttributes } from "../nfs/attributes.ts";
import { HANDLE_BYTES } from "../nfs/handle.ts";
import { ENTRY_FSID_FROM_END } from "../nfs/procedures/listing.ts";
import { XdrWriter } from "../nfs/xdr.ts";
import type { LayerEntry } from "./layer.ts";

/** Encoding them takes a few milliseconds at most, in which nobody is answered; together they have 2 MB at most. */
const ENCODED_ENTRIES_MAX = 4096;

export class EncodedDirectory {
  readonly entries: readonly LayerEntry[];
  #bytes = new Uint8Array(0);
  /** Where each entry ends. Too short when there are too many, or one leads nowhere. */
  #ends: number[] = [];

  constructor(entries: readonly LayerEntry[], attributesOf: (id: number) => InodeAttributes | undefined) {
    this.entries = entries;
    if (entries.length > ENCODED_ENTRIES_MAX) return;
    const writer = new XdrWriter();
    for (const { id, name, cookie } of entries) {
      const attributes = attributesOf(id);
      if (attributes === undefined) return;
      writer.bool(true).hyper(id).name(name).hyper(cookie).bool(true);
      writeAttributes(writer, 0n, { id, ...attributes });
      writer.bool(true).u32(HANDLE_BYTES).zeros(HANDLE_BYTES);
      this.#ends.push(writer.lengthBytes);
    }
    this.#bytes = writer.finish().slice();
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  /** Writes `listed`, which begins with the entry `first`. False: it is no piece of this directory, or that is not encoded. */
  write(first: number, listed: readonly LayerEntry[], fsid: bigint, writer: XdrWriter): boolean {
    const last = first + listed.length - 1;
    if (this.entries[first] !== listed[0] || this.entries[last] !== listed.at(-1)) return false;
    const end = this.#ends[last];
    if (end === undefined || this.#bytes.length === 0) return false;
    const start = this.#ends[first - 1] ?? 0;
    const shift = writer.lengthBytes - start - ENTRY_FSID_FROM_END;
    writer.bytes(this.#bytes.subarray(start, end));
    for (let index = first; index <= last; index++) writer.patchU64(this.#ends[index]! + shift, fsid);
    return true;
  }
}
