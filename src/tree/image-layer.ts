/** The lowest layer: a file system inside an image file, read in place and shared by all nodes that use it. */

import { DecodeError } from "../bytes/decode-error.ts";
import type { FileName } from "../bytes/file-name.ts";
import { BoundedCache } from "../cache/bounded-cache.ts";
import type { FileSystemImage, InodeAttributes } from "../disk/file-system-image.ts";
import type { XdrWriter } from "../nfs/xdr.ts";
import type { FileRange } from "../ports.ts";
import { AttributeTable } from "./attribute-table.ts";
import { EncodedDirectory } from "./encoded-directory.ts";
import { FIRST_COOKIE, type GeneratedPlace, type Layer, type LayerEntry, nameKey } from "./layer.ts";

/** Names kept in memory per image: about 20 MB. A Debian root has 65,000 in all. */
const CACHED_NAMES_MAX = 200_000;

/** Listings kept as they go on the wire, per image. All directories of a Debian root take 11 MB. */
const ENCODED_BYTES_MAX = 12 * 1024 * 1024;

interface Directory {
  entries: LayerEntry[];
  byName: Map<string, LayerEntry>;
  parentId: number;
}

const NO_DIRECTORY: Directory = { entries: [], byName: new Map(), parentId: 0 };

export class ImageLayer implements Layer {
  readonly image: FileSystemImage;
  readonly rootId: number;
  readonly caseSensitive: boolean;
  readonly #attributes: AttributeTable;
  readonly #directories = new BoundedCache<Directory>(CACHED_NAMES_MAX, ({ entries }) => 1 + entries.length);
  readonly #encoded = new BoundedCache<EncodedDirectory>(ENCODED_BYTES_MAX, ({ sizeBytes }) => 1 + sizeBytes);

  constructor(image: FileSystemImage) {
    this.image = image;
    this.rootId = image.rootId;
    this.caseSensitive = image.caseSensitive;
    this.#attributes = new AttributeTable((id) => image.attributes(id));
  }

  #has(id: number): boolean {
    return id >= 1 && id <= this.image.lastId;
  }

  attributes(id: number) {
    return this.#has(id) ? this.#attributes.get(id) : undefined;
  }

  writeAttributes(id: number, fsid: bigint, writer: XdrWriter): boolean {
    return this.#has(id) && this.#attributes.write(id, fsid, writer);
  }

  writeEntries(directoryId: number, listed: readonly LayerEntry[], fsid: bigint, writer: XdrWriter): boolean {
    const [first] = listed;
    if (first === undefined) return false;
    return this.#encodedDirectory(directoryId).write(first.cookie - FIRST_COOKIE, listed, fsid, writer);
  }

  #encodedDirectory(id: number): EncodedDirectory {
    const entries = this.entries(id);
    const known = this.#encoded.get(id);
    // What was listed is known by its objects, which are other ones after the cache has dropped them.
    if (known !== undefined && known.entries === entries) return known;
    const encoded = new EncodedDirectory(entries, (id) => this.#attributesIfWhole(id));
    this.#encoded.set(id, encoded);
    return encoded;
  }

  /** Also `undefined` for a damaged inode: the long way tells of it, to whoever asks for that one. */
  #attributesIfWhole(id: number): InodeAttributes | undefined {
    try {
      return this.attributes(id);
    } catch (error) {
      if (error instanceof DecodeError) return undefined;
      throw error;
    }
  }

  #directory(id: number): Directory {
    const known = this.#directories.get(id);
    if (known !== undefined) return known;
    if (this.attributes(id)?.type !== "directory") return NO_DIRECTORY;
    const entries = this.image.entries(id).map(({ name, id }, index) => ({ name, id, cookie: FIRST_COOKIE + index }));
    const byName = new Map(entries.map((entry) => [nameKey(entry.name, this.caseSensitive), entry]));
    // From here on the image is not asked about it: it keeps few of its directories.
    const directory = { entries, byName, parentId: this.image.parent(id) };
    this.#directories.set(id, directory);
    return directory;
  }

  lookup(directoryId: number, name: FileName): LayerEntry | undefined {
    return this.#directory(directoryId).byName.get(nameKey(name, this.caseSensitive));
  }

  entries(directoryId: number): readonly LayerEntry[] {
    return this.#directory(directoryId).entries;
  }

  nextCookie(directoryId: number): number {
    return FIRST_COOKIE + this.entries(directoryId).length;
  }

  parentOf(directoryId: number): number {
    const directory = this.#directory(directoryId);
    return directory === NO_DIRECTORY ? this.image.parent(directoryId) : directory.parentId;
  }

  symlinkTarget(id: number): FileName {
    return this.image.symlinkTarget(id);
  }

  generatedPlace(): GeneratedPlace | undefined {
    return undefined;
  }

  readSync(id: number, target: Uint8Array, offset: number): number {
    return this.#has(id) ? this.image.readFileSync(id, target, offset) : 0;
  }

  readNow(id: number, target: Uint8Array, offset: number): number | undefined {
    return this.#has(id) ? this.image.readFileNow(id, target, offset) : 0;
  }

  rangeNow(id: number, offset: number, lengthBytes: number): FileRange | undefined {
    return this.#has(id) ? this.image.fileRangeNow?.(id, offset, lengthBytes) : undefined;
  }

  read(id: number, target: Uint8Array, offset: number): number | Promise<number> {
    return this.#has(id) ? this.image.readFile(id, target, offset) : 0;
  }
}
