/**
 * A layer shows a whole file system: its own overrides, keyed by file id, on top of what the layer below shows.
 * The lowest is the image. Everything is synchronous but reading contents, and throws `DecodeError` on a damaged
 * image. Unknown ids: `undefined`, an empty listing, or no bytes.
 */
import type { FileName } from "../bytes/file-name.ts";
import { fileNameToText } from "../bytes/file-name.ts";
import type { InodeAttributes } from "../disk/file-system-image.ts";
import type { XdrWriter } from "../nfs/xdr.ts";
import type { FileRange } from "../ports.ts";

/** A name in a directory. Cookies rise in listing order, start at `FIRST_COOKIE`, and belong to the name for its life. */
export interface LayerEntry {
  name: FileName;
  id: number;
  cookie: number;
}

/** Where a generated layer put a file, so that a node's layer above can keep it there. */
export interface GeneratedPlace extends LayerEntry {
  directoryId: number;
}

export interface Layer {
  readonly rootId: number;
  readonly caseSensitive: boolean;

  attributes(id: number): InodeAttributes | undefined;
  /** Writes them as `fattr3` where that takes no more than copying. */
  writeAttributes(id: number, fsid: bigint, writer: XdrWriter): boolean;
  /** Writes a piece of a listing as `entryplus3` with handles of zeros, where that takes no more than copying. */
  writeEntries(directoryId: number, listed: readonly LayerEntry[], fsid: bigint, writer: XdrWriter): boolean;
  lookup(directoryId: number, name: FileName): LayerEntry | undefined;
  /** By rising cookie. Shared: not to be changed. */
  entries(directoryId: number): readonly LayerEntry[];
  /** Above all cookies that this layer and those below ever gave, or will give, in the directory. */
  nextCookie(directoryId: number): number;
  parentOf(directoryId: number): number;
  symlinkTarget(id: number): FileName;
  /** Set when the file is computed and may be another after a restart: a layer above must copy it whole. */
  generatedPlace(id: number): GeneratedPlace | undefined;
  /** Fills `target` from `offset` of a plain file; returns how many bytes there were, fewer only at its end. */
  readSync(id: number, target: Uint8Array, offset: number): number;
  /** The same where no wait for a disk is needed; `undefined` otherwise, with `target` filled with anything. */
  readNow(id: number, target: Uint8Array, offset: number): number | undefined;
  /** Where these bytes of a plain file, at least one, lie in a file of this machine, if they do, and it has them in memory. */
  rangeNow(id: number, offset: number, lengthBytes: number): FileRange | undefined;
  read(id: number, target: Uint8Array, offset: number): number | Promise<number>;
}

/** 1 and 2 are `.` and `..`; 0 means "from the start". */
export const FIRST_COOKIE = 3;

/** The index of the first entry whose cookie is above `cookie`. */
export function firstAfter(entries: readonly LayerEntry[], cookie: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle]!.cookie > cookie) high = middle;
    else low = middle + 1;
  }
  return low;
}

const ASCII = /^[\0-\x7f]*$/;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The form under which names are compared: themselves, or lower case on file systems that ignore it (FAT). */
export function nameKey(name: FileName, caseSensitive: boolean): string {
  if (caseSensitive) return name;
  if (ASCII.test(name) || !isUtf8(name)) return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return Buffer.from(fileNameToText(name).toLowerCase(), "utf8").toString("latin1");
}

function isUtf8(name: FileName): boolean {
  try {
    utf8.decode(Buffer.from(name, "latin1"));
    return true;
  } catch {
    return false;
  }
}
