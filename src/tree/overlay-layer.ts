/** What generated and node layers have in common: overrides by file id, and names by directory, over a layer below. */

import type { FileName } from "../bytes/file-name.ts";
import { BoundedCache } from "../cache/bounded-cache.ts";
import type { InodeAttributes } from "../disk/file-system-image.ts";
import type { XdrWriter } from "../nfs/xdr.ts";
import type { FileRange } from "../ports.ts";
import type { FileData } from "./file-data.ts";
import { firstAfter, type GeneratedPlace, type Layer, type LayerEntry, nameKey } from "./layer.ts";

/** All that a layer says about one file. */
export interface InodeOverride {
  /** `linkCount` is absolute when `whole`; else it is the difference to what the layer below says. */
  attributes: InodeAttributes;
  /** Owes nothing to the layer below: made in this layer, or copied whole from a generated one. */
  whole: boolean;
  /** Directories: where `..` leads. Otherwise 0. */
  parentId: number;
  /** Directories: the cookie of the next new name. Otherwise 0. */
  nextCookie: number;
  /** Symlinks. Otherwise empty. */
  target: FileName;
  /** Plain files. */
  data: FileData | undefined;
  /** From an exclusive CREATE: the 8 bytes that make a repetition of it known. */
  verifier: Uint8Array | undefined;
}

/** The file is gone, though the layer below has it. */
export const REMOVED = "removed";

/** An entry of id 0 hides the name of the layer below. */
export const WHITEOUT_ID = 0;

/** Listings with own names, merged: a system has few such directories that are large and busy. The latest stays anyway. */
const MERGED_ENTRIES_MAX = 20_000;

export abstract class OverlayLayer implements Layer {
  #below: Layer;
  readonly #merged = new BoundedCache<LayerEntry[]>(MERGED_ENTRIES_MAX, (entries) => 1 + entries.length);

  constructor(below: Layer) {
    this.#below = below;
  }

  get below(): Layer {
    return this.#below;
  }

  /** Lays this layer over another one. */
  set below(layer: Layer) {
    this.#below = layer;
    this.#merged.clear();
  }

  get rootId(): number {
    return this.#below.rootId;
  }

  get caseSensitive(): boolean {
    return this.#below.caseSensitive;
  }

  abstract override(id: number): InodeOverride | typeof REMOVED | undefined;
  /** This layer's own names in a directory by `nameKey`, in order of making. */
  protected abstract names(directoryId: number): ReadonlyMap<string, LayerEntry> | undefined;
  abstract readSync(id: number, target: Uint8Array, offset: number): number;
  abstract read(id: number, target: Uint8Array, offset: number): number | Promise<number>;
  abstract generatedPlace(id: number): GeneratedPlace | undefined;

  attributes(id: number): InodeAttributes | undefined {
    const override = this.override(id);
    if (override === undefined) return this.#below.attributes(id);
    if (override === REMOVED) return undefined;
    if (override.whole) return override.attributes;
    const linksBelow = this.linksBelow(id);
    if (linksBelow === undefined) return undefined;
    return { ...override.attributes, linkCount: linksBelow + override.attributes.linkCount };
  }

  writeAttributes(id: number, fsid: bigint, writer: XdrWriter): boolean {
    return this.override(id) === undefined && this.#below.writeAttributes(id, fsid, writer);
  }

  writeEntries(directoryId: number, listed: readonly LayerEntry[], fsid: bigint, writer: XdrWriter): boolean {
    if ((this.names(directoryId)?.size ?? 0) > 0) return false;
    for (const { id } of listed) if (this.override(id) !== undefined) return false;
    return this.#below.writeEntries(directoryId, listed, fsid, writer);
  }

  /** What the link count of an override that is not whole is to be added to; `undefined`: the file is gone. */
  linksBelow(id: number): number | undefined {
    return this.#below.attributes(id)?.linkCount;
  }

  key(name: FileName): string {
    return nameKey(name, this.caseSensitive);
  }

  lookup(directoryId: number, name: FileName): LayerEntry | undefined {
    const own = this.names(directoryId)?.get(this.key(name));
    if (own === undefined) return this.#below.lookup(directoryId, name);
    return own.id === WHITEOUT_ID ? undefined : own;
  }

  entries(directoryId: number): readonly LayerEntry[] {
    const known = this.#merged.get(directoryId);
    if (known !== undefined) return known;
    const names = this.names(directoryId);
    if (names === undefined || names.size === 0) return this.#below.entries(directoryId);
    const merged = this.#below.entries(directoryId).filter((entry) => !names.has(this.key(entry.name)));
    for (const entry of names.values()) if (entry.id !== WHITEOUT_ID) merged.push(entry);
    merged.sort((one, other) => one.cookie - other.cookie);
    this.#merged.set(directoryId, merged);
    return merged;
  }

  /** A name now shows `after` instead of `before`: its listing follows, for making it anew costs as much as it is long. */
  protected changeListing(directoryId: number, before: LayerEntry | undefined, after: LayerEntry | undefined): void {
    const merged = this.#merged.get(directoryId);
    if (merged === undefined) return;
    if (before !== undefined) merged.splice(firstAfter(merged, before.cookie - 1), 1);
    if (after !== undefined) merged.splice(firstAfter(merged, after.cookie), 0, after);
    this.#merged.set(directoryId, merged);
  }

  /** The directory is gone. */
  protected forgetListing(directoryId: number): void {
    this.#merged.delete(directoryId);
  }

  protected forgetListings(): void {
    this.#merged.clear();
  }

  abstract nextCookie(directoryId: number): number;

  parentOf(directoryId: number): number {
    const override = this.override(directoryId);
    return typeof override === "object" ? override.parentId : this.#below.parentOf(directoryId);
  }

  /** What lies in data files is not looked for. */
  readNow(id: number, target: Uint8Array, offset: number): number | undefined {
    const override = this.override(id);
    if (override === undefined) return this.#below.readNow(id, target, offset);
    if (override === REMOVED) return 0;
    const content = override.data?.inline?.subarray(offset, offset + target.length);
    if (content !== undefined) target.set(content);
    return content?.length;
  }

  /** The same. */
  rangeNow(id: number, offset: number, lengthBytes: number): FileRange | undefined {
    return this.override(id) === undefined ? this.#below.rangeNow(id, offset, lengthBytes) : undefined;
  }

  symlinkTarget(id: number): FileName {
    const override = this.override(id);
    return typeof override === "object" ? override.target : this.#below.symlinkTarget(id);
  }
}

/** Takes an inode of the layer below as it is. Contents stay below, unless they are generated. */
export function overrideFrom(below: Layer, id: number, attributes: InodeAttributes): InodeOverride {
  const whole = below.generatedPlace(id) !== undefined;
  const isDirectory = attributes.type === "directory";
  return {
    attributes: { ...attributes, linkCount: whole ? attributes.linkCount : 0 },
    whole,
    parentId: isDirectory ? below.parentOf(id) : 0,
    nextCookie: isDirectory ? below.nextCookie(id) : 0,
    target: attributes.type === "symlink" ? below.symlinkTarget(id) : ("" as FileName),
    data: attributes.type === "file" ? dataFrom(below, id, attributes.sizeBytes, whole) : undefined,
    verifier: undefined,
  };
}

function dataFrom(below: Layer, id: number, sizeBytes: number, whole: boolean): FileData {
  if (!whole) return { inheritedBytes: sizeBytes, ranges: [], inline: undefined };
  const content = new Uint8Array(sizeBytes);
  below.readSync(id, content, 0);
  return { inheritedBytes: 0, ranges: [], inline: content };
}
