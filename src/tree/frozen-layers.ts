/**
 * Layers that are not written any more, one on another, as what they say together. Nothing of a store changes under
 * them, so all trees that lie on the same layers share one object of this, and it costs as much to ask as one layer.
 */
import { type LayerEntry, nameKey } from "./layer.ts";
import { LayerCache } from "./layer-cache.ts";
import type { NodeLayerShared } from "./node-layer.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";
import { decodeEntry, decodeInode, entryRange, idFromInodeKey, inodeKey, inodeRange } from "./store-records.ts";

/** What the layers say about a file. Links and attributes are those of all together, `data` those of the highest. */
export interface FrozenFile extends InodeOverride {
  /** The highest layer that says something about it: it holds the data. */
  layerId: number;
  /** The file of the next lower layer that has it: data that are inherited come from there. Unset: from the image. */
  inherits: FrozenFile | undefined;
}

export interface GrownFrom {
  lower: FrozenLayers | undefined;
  ids: Iterable<number>;
}

export class FrozenLayers {
  readonly shared: NodeLayerShared;
  /** From the lowest up. */
  readonly #layerIds: readonly number[];
  /** File id → index of the highest layer that has a record of it. Read from the store at the first use. */
  #highest: Map<number, number> | undefined;
  #grownFrom: GrownFrom | undefined;
  readonly #files: LayerCache<FrozenFile | typeof REMOVED>;
  readonly #names: LayerCache<ReadonlyMap<string, LayerEntry>>;

  /** `grownFrom`: the layers but the highest, as they are known already, and the ids in the highest. */
  constructor(layerIds: readonly number[], shared: NodeLayerShared, grownFrom?: GrownFrom) {
    this.#layerIds = layerIds;
    this.shared = shared;
    this.#grownFrom = grownFrom;
    this.#files = new LayerCache(shared.cachedRecords);
    this.#names = new LayerCache(shared.cachedNames);
  }

  get #index(): ReadonlyMap<number, number> {
    this.#highest ??= this.#load();
    return this.#highest;
  }

  #load(): Map<number, number> {
    const grownFrom = this.#grownFrom;
    this.#grownFrom = undefined;
    const lower = grownFrom?.lower;
    const highest = new Map<number, number>(lower === undefined ? [] : lower.#index);
    if (grownFrom !== undefined) {
      for (const id of grownFrom.ids) highest.set(id, this.#layerIds.length - 1);
      return highest;
    }
    for (const [index, layerId] of this.#layerIds.entries()) {
      const { from, to } = inodeRange(layerId);
      for (const { key } of this.shared.store.range(from, to)) highest.set(idFromInodeKey(key), index);
    }
    return highest;
  }

  ids(): Iterable<number> {
    return this.#index.keys();
  }

  get isEmpty(): boolean {
    return this.#index.size === 0;
  }

  has(id: number): boolean {
    return this.#index.has(id);
  }

  file(id: number): FrozenFile | typeof REMOVED | undefined {
    const index = this.#index.get(id);
    if (index === undefined) return undefined;
    const known = this.#files.get(id);
    if (known !== undefined) return known;
    const file = this.#fileFrom(id, index);
    if (file !== undefined) this.#files.set(id, file, 1);
    return file;
  }

  /** What the layers up to an index say. */
  #fileFrom(id: number, highest: number): FrozenFile | typeof REMOVED | undefined {
    for (let index = highest; index >= 0; index -= 1) {
      const layerId = this.#layerIds[index]!;
      const bytes = this.shared.store.get(inodeKey(layerId, id));
      if (bytes === undefined) continue;
      const inode = decodeInode(bytes);
      if (inode === REMOVED) return REMOVED;
      if (inode.whole) return { ...inode, layerId, inherits: undefined };
      const lower = this.#fileFrom(id, index - 1);
      if (lower === undefined || lower === REMOVED) return { ...inode, layerId, inherits: undefined };
      const linkCount = lower.attributes.linkCount + inode.attributes.linkCount;
      const attributes = { ...inode.attributes, linkCount };
      return { ...inode, attributes, whole: lower.whole, layerId, inherits: lower };
    }
    return undefined;
  }

  /** Names in a directory by `nameKey`, with those that hide others; `undefined` when no layer says anything. */
  names(directoryId: number, caseSensitive: boolean): ReadonlyMap<string, LayerEntry> | undefined {
    const file = this.file(directoryId);
    if (file === undefined || file === REMOVED) return undefined;
    const known = this.#names.get(directoryId);
    if (known !== undefined) return known;
    const layerIds: number[] = [];
    for (let from: FrozenFile | undefined = file; from !== undefined; from = from.inherits) layerIds.push(from.layerId);
    const names = new Map<string, LayerEntry>();
    for (const layerId of layerIds.reverse()) {
      const { from, to } = entryRange(layerId, directoryId);
      for (const { value } of this.shared.store.range(from, to)) {
        const entry = decodeEntry(value);
        names.set(nameKey(entry.name, caseSensitive), entry);
      }
    }
    this.#names.set(directoryId, names, 1 + names.size);
    return names;
  }
}
