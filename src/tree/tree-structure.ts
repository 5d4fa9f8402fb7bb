/** Which layers each tree has, as it is stored, and the ids that are given out. Every change is one atomic write. */
import type { Clock, KeyValueStore, Mutation } from "../ports.ts";
import type { LayerCollector } from "./layer-collector.ts";
import { encodeLayerId, inodeRange, nextIdKey, parentKey } from "./store-records.ts";
import {
  decodeTree,
  encodeStore,
  encodeTree,
  STORE_KEY,
  type StoreRecord,
  type TreeRecord,
  treeKey,
} from "./structure-records.ts";
import { TREE_KINDS, type TreeKind } from "./tree-description.ts";

export interface StoredTree {
  kind: TreeKind;
  record: TreeRecord;
}

/** Changes that are stored together, and the layers that they begin and cease to lead to. */
export class StructureChange {
  readonly mutations: Mutation[] = [];
  readonly used: number[] = [];
  readonly released: number[] = [];
}

export class TreeStructure {
  readonly store: KeyValueStore;
  readonly clock: Clock;
  readonly layers: LayerCollector;
  readonly #record: StoreRecord;

  constructor(store: KeyValueStore, clock: Clock, record: StoreRecord, layers: LayerCollector) {
    this.store = store;
    this.clock = clock;
    this.layers = layers;
    this.#record = record;
  }

  tree(node: string, kind: TreeKind): TreeRecord | undefined {
    // Whatever is done to a tree begins here, and it must see what the worker wrote before it released the tree.
    this.store.catchUp();
    const bytes = this.store.get(treeKey(node, kind));
    return bytes === undefined ? undefined : decodeTree(bytes);
  }

  treesOf(node: string): StoredTree[] {
    return TREE_KINDS.flatMap((kind) => {
      const record = this.tree(node, kind);
      return record === undefined ? [] : [{ kind, record }];
    });
  }

  newTreeId(): number {
    return this.#record.nextTreeId++;
  }

  fsid(treeId: number): bigint {
    return (BigInt(this.#record.storeId) << 32n) | BigInt(treeId);
  }

  /** True when the node has written to the tree. */
  isWritten({ layerId }: TreeRecord): boolean {
    return this.layers.parentOf(layerId) !== undefined || !this.isEmpty(layerId);
  }

  isEmpty(layerId: number): boolean {
    const { from, to } = inodeRange(layerId);
    for (const _ of this.store.range(from, to)) return false;
    return true;
  }

  /**
   * Adds an empty layer. File ids go on after those of the layers named: files that come back with a snapshot have ids
   * that were given already.
   */
  addLayer(change: StructureChange, lies: { on: number | undefined; idsAfter: readonly number[] }): number {
    const layerId = this.#record.nextLayerId++;
    if (lies.on !== undefined) change.mutations.push({ put: parentKey(layerId), value: encodeLayerId(lies.on) });
    const taken = lies.idsAfter.flatMap((id) => this.store.get(nextIdKey(id)) ?? []);
    // Big-endian: bytes compare as numbers do.
    const highest = taken.sort(Buffer.compare).at(-1);
    if (highest !== undefined) change.mutations.push({ put: nextIdKey(layerId), value: highest });
    return layerId;
  }

  putTree(change: StructureChange, node: string, kind: TreeKind, record: TreeRecord): void {
    const before = this.tree(node, kind);
    change.mutations.push({ put: treeKey(node, kind), value: encodeTree(record) });
    if (before?.layerId === record.layerId) return;
    change.used.push(record.layerId);
    if (before !== undefined) change.released.push(before.layerId);
  }

  /** Resolves when the change is durable; rejects, with nothing changed, when it cannot be. */
  async commit(change: StructureChange): Promise<void> {
    const isMoved = change.used.length > 0;
    const head: Mutation[] = isMoved ? [{ put: STORE_KEY, value: encodeStore(this.#record) }] : [];
    const stored = this.store.write([...head, ...change.mutations]);
    for (const layerId of change.used) this.layers.use(layerId);
    try {
      await stored;
    } catch (error) {
      for (const layerId of change.used) this.layers.release(layerId);
      throw error;
    }
    for (const layerId of change.released) this.layers.release(layerId);
  }
}
