/**
 * The structure of all trees: which layers each consists of, and which ids are given to what. Only one process writes
 * it. What nodes write goes through `TreeStore`; a tree must be released there while its structure changes here.
 */
import type { FileSystemImage } from "../disk/file-system-image.ts";
import { GENERATED_PATHS_MAX } from "../limits.ts";
import type { Clock, DataFiles, KeyValueStore, Mutation, Random } from "../ports.ts";
import { CatalogRefusal } from "./catalog-refusal.ts";
import { FrozenLayer } from "./frozen-layer.ts";
import { FrozenLayers } from "./frozen-layers.ts";
import { layDescribed } from "./generated-description.ts";
import { GeneratedPaths, GeneratedTimes } from "./generated-ids.ts";
import { placeFiles } from "./generated-layer.ts";
import { ImageLayer } from "./image-layer.ts";
import { LayerCollector } from "./layer-collector.ts";
import { sharedByNodeLayers } from "./node-layer.ts";
import { OpenDataFiles } from "./open-data-files.ts";
import { type Snapshot, Snapshots } from "./snapshots.ts";
import {
  decodeStore,
  encodeStore,
  generatedPathsKey,
  generatedTimesKey,
  STORE_KEY,
  type StoreRecord,
  type TreeRecord,
} from "./structure-records.ts";
import {
  DEFAULT_RULES,
  type GeneratedDescription,
  type TreeDescription,
  type TreeKind,
  type TreeOptions,
} from "./tree-description.ts";
import { type TreeChange, TreeDiff } from "./tree-diff.ts";
import { StructureChange, TreeStructure } from "./tree-structure.ts";

export interface TreeCatalogOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  random: Random;
}

/** An image whose ids do not leave room below 2^32 for those of a node's files. */
const IMAGE_ID_MAX = 2 ** 31;

export class TreeCatalog {
  readonly #structure: TreeStructure;
  readonly #dataFiles: DataFiles;
  readonly #snapshots: Snapshots;
  readonly #images = new WeakMap<FileSystemImage, ImageLayer>();
  readonly #paths = new Map<string, GeneratedPaths>();

  /** Use `openTreeCatalog`. */
  constructor(structure: TreeStructure, dataFiles: DataFiles) {
    this.#structure = structure;
    this.#dataFiles = dataFiles;
    this.#snapshots = new Snapshots(structure);
  }

  /**
   * Describes the tree of a node, which is made at the first call, over the given generated files. Resolves when
   * everything that is described is durable. Rejects when the node has written over another image; nothing is changed
   * then.
   */
  async tree(options: TreeOptions): Promise<TreeDescription> {
    const { node, kind, imageId } = options;
    const change = new StructureChange();
    const { treeId, epoch, firstId, layerId } = this.#recordFor(options, change);
    const generated = this.#describe(options, treeId, change.mutations);
    const fsid = this.#structure.fsid(treeId);
    try {
      await this.#structure.commit(change);
    } catch (error) {
      this.#paths.clear();
      throw error;
    }
    return {
      node,
      kind,
      treeId,
      epoch,
      fsid,
      imageId,
      firstId,
      layers: this.#structure.layers.stackOf(layerId),
      generated,
      rules: options.rules ?? DEFAULT_RULES,
    };
  }

  /** The stored record, one for a new tree, or one that takes an unwritten tree to another image. */
  #recordFor({ node, kind, image, imageId }: TreeOptions, change: StructureChange): TreeRecord {
    if (image.lastId > IMAGE_ID_MAX) {
      throw new CatalogRefusal(
        `Cannot make a tree of image ${imageId}: its largest file id is ${image.lastId}, and only ${IMAGE_ID_MAX} is supported`,
      );
    }
    const structure = this.#structure;
    const firstId = image.lastId + 1 + GENERATED_PATHS_MAX;
    const stored = structure.tree(node, kind);
    if (stored?.imageId === imageId && stored.firstId === firstId) return stored;
    if (stored !== undefined && structure.isWritten(stored)) {
      throw new CatalogRefusal(
        `Cannot lay the ${kind} tree of node ${node} over image ${imageId}: what the node has written belongs to image ${stored.imageId}; go back to that image, or drop what was written with: bramble nodes reset ${node}`,
      );
    }
    const record: TreeRecord = {
      treeId: stored?.treeId ?? structure.newTreeId(),
      epoch: (stored?.epoch ?? 0) + 1,
      layerId: structure.addLayer(change, { on: undefined, idsAfter: [] }),
      firstId,
      imageId,
    };
    structure.putTree(change, node, kind, record);
    return record;
  }

  /** Places the files once, to learn which paths and times they need. */
  #describe(options: TreeOptions, treeId: number, mutations: Mutation[]): GeneratedDescription {
    const { image, imageId, kind, generated: files } = options;
    const { store, clock } = this.#structure;
    const paths = this.#pathsOf(imageId, kind);
    const times = new GeneratedTimes(store, generatedTimesKey(treeId), clock.unixNs());
    const indexes = new Map<string, number>();
    placeFiles(this.#imageLayer(image), files, {
      firstId: image.lastId + 1,
      indexFor: (path) => {
        const index = paths.indexFor(image.caseSensitive ? path : path.toLowerCase());
        indexes.set(path, index);
        return index;
      },
      timeNsFor: (file) => times.timeNsFor(file),
    });
    mutations.push(...paths.mutations(), ...times.mutations());
    return { files, indexes, timesNs: times.asked };
  }

  #pathsOf(imageId: string, kind: TreeKind): GeneratedPaths {
    const name = `${imageId}\0${kind}`;
    const known = this.#paths.get(name) ?? new GeneratedPaths(this.#structure.store, generatedPathsKey(imageId, kind));
    this.#paths.set(name, known);
    return known;
  }

  #imageLayer(image: FileSystemImage): ImageLayer {
    const known = this.#images.get(image) ?? new ImageLayer(image);
    this.#images.set(image, known);
    return known;
  }

  /** True when the node has written anything. */
  hasNodeLayer(node: string): boolean {
    return this.#structure.treesOf(node).some(({ record }) => this.#structure.isWritten(record));
  }

  /** Forgets everything the node has written, but for its snapshots. Its handles become stale. */
  async dropNodeLayer(node: string): Promise<void> {
    const change = new StructureChange();
    for (const { kind, record } of this.#structure.treesOf(node)) {
      const layerId = this.#structure.addLayer(change, { on: undefined, idsAfter: [record.layerId] });
      this.#structure.putTree(change, node, kind, { ...record, epoch: record.epoch + 1, layerId });
    }
    await this.#structure.commit(change);
  }

  /** Keeps what the node has written as it is now, under a name. */
  snapshot(node: string, name: string): Promise<void> {
    return this.#snapshots.take(node, name);
  }

  /** Oldest first. */
  snapshots(node: string): Snapshot[] {
    return this.#snapshots.list(node);
  }

  /** Goes back to a snapshot. Files made since are stale; the others keep their ids and handles. */
  restore(node: string, name: string): Promise<void> {
    return this.#snapshots.restore(node, name);
  }

  removeSnapshot(node: string, name: string): Promise<void> {
    return this.#snapshots.remove(node, name);
  }

  /** Gives a node that has written nothing what another one has now, or had when a snapshot was taken. */
  clone(fromNode: string, snapshot: string | undefined, toNode: string): Promise<void> {
    return this.#snapshots.clone(fromNode, snapshot, toNode);
  }

  /**
   * What the node has changed in a tree, against its image and generated files. The tree may be in use: what its node
   * changes meanwhile may be told or not. `undefined` now and then, so that the caller can do something else.
   */
  *diff(description: TreeDescription, image: FileSystemImage): Generator<TreeChange | undefined> {
    const { store, clock, layers } = this.#structure;
    store.catchUp();
    const shared = sharedByNodeLayers(store, new OpenDataFiles(this.#dataFiles), clock);
    const imageLayer = this.#imageLayer(image);
    const generated = layDescribed(imageLayer, description.generated);
    // The active layer is as good as frozen: it is read once.
    const written = new FrozenLayers(layers.stackOf(description.layers.at(-1)!), shared);
    const now = new FrozenLayer(written, { below: generated, inherited: imageLayer });
    try {
      yield* new TreeDiff(now, generated, written).changes();
    } finally {
      shared.files.closeAll();
    }
  }

  /** Resolves when layers that nothing uses any more are gone from the disk. */
  collected(): Promise<void> {
    return this.#structure.layers.collected();
  }

  /** Waits for what is under way. The key-value store stays open. */
  close(): Promise<void> {
    return this.#structure.layers.collected();
  }
}

/** Opens the structure kept in a key-value store and a folder of data files, which no other process writes. */
export async function openTreeCatalog(options: TreeCatalogOptions): Promise<TreeCatalog> {
  const { keyValueStore, dataFiles, clock, random } = options;
  const bytes = keyValueStore.get(STORE_KEY);
  let record: StoreRecord;
  if (bytes !== undefined) record = decodeStore(bytes);
  else {
    const storeId = random.bytes(4).reduce((number, byte) => number * 256 + byte, 0);
    record = { nextTreeId: 1, nextLayerId: 1, storeId };
    await keyValueStore.write([{ put: STORE_KEY, value: encodeStore(record) }]);
  }
  const layers = new LayerCollector(keyValueStore, dataFiles);
  await layers.removeUnreachable();
  return new TreeCatalog(new TreeStructure(keyValueStore, clock, record, layers), dataFiles);
}
