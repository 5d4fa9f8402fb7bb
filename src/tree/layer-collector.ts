/**
 * Removes layers that nothing leads to any more: no tree, no snapshot, no layer above. Their keys and data files go in
 * portions, so that nobody waits long. What a crash leaves is found when the store is opened the next time.
 */
import type { DataFiles, KeyValueStore, Mutation } from "../ports.ts";
import { dataFolder, layerOfFolder } from "./open-data-files.ts";
import { layerRange } from "./store-records.ts";
import { layersDownFrom, parentOf, storedLayerIds } from "./stored-layers.ts";
import { decodeSnapshot, decodeTree, SNAPSHOTS_RANGE, TREE_RANGE } from "./structure-records.ts";

const KEYS_AT_ONCE = 500;
const FILES_AT_ONCE = 100;

interface UsedLayer {
  /** How many trees, snapshots and layers lead to it. */
  users: number;
  parentId: number | undefined;
}

export class LayerCollector {
  readonly #store: KeyValueStore;
  readonly #dataFiles: DataFiles;
  readonly #layers = new Map<number, UsedLayer>();
  #collecting: Promise<void> = Promise.resolve();

  constructor(store: KeyValueStore, dataFiles: DataFiles) {
    this.#store = store;
    this.#dataFiles = dataFiles;
    for (const { value } of store.range(TREE_RANGE.from, TREE_RANGE.to)) this.use(decodeTree(value).layerId);
    for (const { value } of store.range(SNAPSHOTS_RANGE.from, SNAPSHOTS_RANGE.to)) {
      for (const { layerId } of decodeSnapshot(value).trees) this.use(layerId);
    }
  }

  parentOf(layerId: number): number | undefined {
    return parentOf(this.#store, layerId);
  }

  /** Layer ids from the lowest up to this one. */
  stackOf(layerId: number): number[] {
    return [...layersDownFrom(this.#store, layerId)].reverse();
  }

  /** Something new leads to the layer. Call as soon as the write that says so is under way. */
  use(layerId: number): void {
    const known = this.#layers.get(layerId);
    if (known !== undefined) {
      known.users += 1;
      return;
    }
    const parentId = this.parentOf(layerId);
    this.#layers.set(layerId, { users: 1, parentId });
    if (parentId !== undefined) this.use(parentId);
  }

  /** Something no longer leads to the layer. Call only when that is stored. */
  release(layerId: number): void {
    const layer = this.#layers.get(layerId);
    if (layer === undefined) throw new Error(`Cannot release layer ${layerId}: nothing leads to it`);
    layer.users -= 1;
    if (layer.users > 0) return;
    this.#layers.delete(layerId);
    // What cannot be removed now is found at the next start.
    this.#collecting = this.#collecting.then(() => this.#remove(layerId)).catch(() => {});
    if (layer.parentId !== undefined) this.release(layer.parentId);
  }

  /** Resolves when everything that was released is gone. */
  collected(): Promise<void> {
    return this.#collecting;
  }

  /** What earlier runs left: layers and data files that nothing leads to. */
  async removeUnreachable(): Promise<void> {
    const withFolder = this.#dataFiles.list("").flatMap((folder) => layerOfFolder(folder) ?? []);
    for (const layerId of new Set([...storedLayerIds(this.#store), ...withFolder])) {
      if (!this.#layers.has(layerId)) await this.#remove(layerId);
    }
  }

  async #remove(layerId: number): Promise<void> {
    const { from, to } = layerRange(layerId);
    for (;;) {
      const removals: Mutation[] = [];
      for (const { key } of this.#store.range(from, to)) {
        if (removals.push({ remove: new Uint8Array(key) }) === KEYS_AT_ONCE) break;
      }
      if (removals.length === 0) break;
      await this.#store.write(removals);
    }
    const folder = dataFolder(layerId);
    const names = this.#dataFiles.list(folder);
    for (let index = 0; index < names.length; index += FILES_AT_ONCE) {
      for (const name of names.slice(index, index + FILES_AT_ONCE)) await this.#dataFiles.remove(`${folder}/${name}`);
      await this.#store.write([]);
    }
    this.#dataFiles.removeFolder(folder);
  }
}
