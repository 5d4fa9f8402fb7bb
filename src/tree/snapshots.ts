/**
 * Snapshots: a node's active layers become frozen, and empty ones come to lie on them. Nothing is copied, so it takes
 * no time and no room, whatever the node has written. The trees must be released while these run.
 */
import { LAYERS_PER_TREE_MAX } from "../limits.ts";
import { CatalogRefusal } from "./catalog-refusal.ts";
import { storedUsage } from "./layer-usage.ts";
import {
  decodeSnapshot,
  encodeSnapshot,
  type SnapshotRecord,
  type SnapshotTree,
  snapshotKey,
  snapshotNameOfKey,
  snapshotRange,
} from "./structure-records.ts";
import { type StoredTree, StructureChange, type TreeStructure } from "./tree-structure.ts";

const SNAPSHOT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export interface Snapshot {
  name: string;
  takenMs: number;
  /** Contents that it holds and no older snapshot of the node does. */
  sizeBytes: number;
}

export class Snapshots {
  readonly #structure: TreeStructure;

  constructor(structure: TreeStructure) {
    this.#structure = structure;
  }

  async take(node: string, name: string): Promise<void> {
    if (!SNAPSHOT_NAME.test(name)) {
      throw new CatalogRefusal(
        `Cannot name a snapshot ${JSON.stringify(name)}: expected up to 63 letters, digits, ".", "_" and "-", a letter or digit first`,
      );
    }
    const trees = this.#treesOf(node, `Cannot take snapshot ${name} of ${node}`);
    if (this.#stored(node, name) !== undefined) {
      throw new CatalogRefusal(
        `Cannot take snapshot ${name} of ${node}: there is one of that name; choose another, or remove it`,
      );
    }
    const change = new StructureChange();
    const frozen = trees.map((tree) => this.#freeze(change, node, tree));
    change.mutations.push({
      put: snapshotKey(node, name),
      value: encodeSnapshot({ takenMs: this.#structure.clock.unixMs(), trees: frozen }),
    });
    change.used.push(...frozen.map(({ layerId }) => layerId));
    await this.#structure.commit(change);
  }

  #treesOf(node: string, task: string): StoredTree[] {
    const trees = this.#structure.treesOf(node);
    if (trees.length === 0) throw new CatalogRefusal(`${task}: the node has no files yet`);
    return trees;
  }

  #stored(node: string, name: string): SnapshotRecord | undefined {
    const bytes = this.#structure.store.get(snapshotKey(node, name));
    return bytes === undefined ? undefined : decodeSnapshot(bytes);
  }

  /** The tree's present state as a frozen layer; the tree goes on with an empty one above. */
  #freeze(change: StructureChange, node: string, { kind, record }: StoredTree): SnapshotTree {
    const structure = this.#structure;
    const { firstId, imageId } = record;
    const parent = structure.layers.parentOf(record.layerId);
    if (parent !== undefined && structure.isEmpty(record.layerId)) return { kind, layerId: parent, firstId, imageId };
    const depth = structure.layers.stackOf(record.layerId).length;
    if (depth >= LAYERS_PER_TREE_MAX) {
      throw new CatalogRefusal(
        `Cannot take another snapshot of ${node}: its files lie in ${depth} layers already, the most there can be; restore an older snapshot, or start anew with: bramble nodes reset ${node}`,
      );
    }
    const layerId = structure.addLayer(change, { on: record.layerId, idsAfter: [record.layerId] });
    structure.putTree(change, node, kind, { ...record, layerId });
    return { kind, layerId: record.layerId, firstId, imageId };
  }

  list(node: string): Snapshot[] {
    const { from, to } = snapshotRange(node);
    const found = Array.from(this.#structure.store.range(from, to), ({ key, value }) => {
      return { name: snapshotNameOfKey(key), ...decodeSnapshot(value) };
    });
    found.sort((one, other) => one.takenMs - other.takenMs);
    const counted = new Set<number>();
    return found.map(({ name, takenMs, trees }) => {
      let sizeBytes = 0;
      for (const layerId of trees.flatMap((tree) => this.#structure.layers.stackOf(tree.layerId))) {
        if (!counted.has(layerId)) sizeBytes += storedUsage(this.#structure.store, layerId).contentBytes;
        counted.add(layerId);
      }
      return { name, takenMs, sizeBytes };
    });
  }

  async restore(node: string, name: string): Promise<void> {
    const structure = this.#structure;
    const snapshot = this.#found(node, name, `Cannot restore snapshot ${name} of ${node}`);
    const change = new StructureChange();
    for (const { kind, layerId: on, firstId, imageId } of snapshot.trees) {
      const record = structure.tree(node, kind);
      if (record?.imageId !== imageId || record.firstId !== firstId) {
        throw new CatalogRefusal(
          `Cannot restore snapshot ${name} of ${node}: it was taken over image ${imageId}, and the node is on another one now; go back to that image first`,
        );
      }
      const layerId = structure.addLayer(change, { on, idsAfter: [record.layerId, on] });
      structure.putTree(change, node, kind, { ...record, layerId });
    }
    await structure.commit(change);
  }

  #found(node: string, name: string, task: string): SnapshotRecord {
    const snapshot = this.#stored(node, name);
    if (snapshot !== undefined) return snapshot;
    const names = this.list(node).map((each) => each.name);
    throw new CatalogRefusal(
      `${task}: ${names.length === 0 ? "it has no snapshots" : `it has only ${names.join(", ")}`}`,
    );
  }

  async remove(node: string, name: string): Promise<void> {
    const snapshot = this.#found(node, name, `Cannot remove snapshot ${name} of ${node}`);
    const change = new StructureChange();
    change.mutations.push({ remove: snapshotKey(node, name) });
    change.released.push(...snapshot.trees.map(({ layerId }) => layerId));
    await this.#structure.commit(change);
  }

  async clone(fromNode: string, name: string | undefined, toNode: string): Promise<void> {
    const structure = this.#structure;
    const task = `Cannot clone ${fromNode} to ${toNode}`;
    if (fromNode === toNode) throw new CatalogRefusal(`${task}: they are the same node`);
    if (structure.treesOf(toNode).some(({ record }) => structure.isWritten(record))) {
      throw new CatalogRefusal(
        `${task}: ${toNode} has written files of its own; bramble nodes reset ${toNode} drops what it wrote`,
      );
    }
    const change = new StructureChange();
    const sources =
      name === undefined
        ? this.#treesOf(fromNode, task).map((tree) => this.#freeze(change, fromNode, tree))
        : this.#found(fromNode, name, task).trees;
    for (const { kind, layerId: on, firstId, imageId } of sources) {
      const before = structure.tree(toNode, kind);
      if (before !== undefined && before.imageId !== imageId) {
        throw new CatalogRefusal(
          `${task}: what was written belongs to image ${imageId}, and ${toNode} is on ${before.imageId}`,
        );
      }
      structure.putTree(change, toNode, kind, {
        treeId: before?.treeId ?? structure.newTreeId(),
        epoch: (before?.epoch ?? 0) + 1,
        layerId: structure.addLayer(change, { on, idsAfter: before === undefined ? [on] : [on, before.layerId] }),
        firstId,
        imageId,
      });
    }
    await structure.commit(change);
  }
}
