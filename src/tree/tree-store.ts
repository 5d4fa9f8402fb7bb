/** The door of this folder: all trees of all nodes, kept in one key-value store and one folder of data files. */
import type { FileSystemImage } from "../disk/file-system-image.ts";
import { GENERATED_PATHS_MAX } from "../limits.ts";
import type { Clock, DataFiles, KeyValueStore, Mutation, Random } from "../ports.ts";
import { GeneratedPaths, GeneratedTimes } from "./generated-ids.ts";
import { type GeneratedLayer, placeFiles } from "./generated-layer.ts";
import { ImageLayer } from "./image-layer.ts";
import { NodeLayer, type NodeLayerShared, sharedByNodeLayers } from "./node-layer.ts";
import { OpenDataFiles } from "./open-data-files.ts";
import type { PlacedFile } from "./placed-file.ts";
import {
  decodeStore,
  decodeTree,
  encodeStore,
  encodeTree,
  generatedPathsKey,
  generatedTimesKey,
  inodeRange,
  layerRange,
  STORE_KEY,
  type StoreRecord,
  TREE_RANGE,
  type TreeRecord,
  treeKey,
} from "./store-records.ts";
import { Tree, type TreeIdentity } from "./tree.ts";

export const TREE_KINDS = ["boot", "root"] as const;
export type TreeKind = (typeof TREE_KINDS)[number];

/** What a tree is made of. */
export interface TreeOptions {
  node: string;
  kind: TreeKind;
  image: FileSystemImage;
  /** Names the image's contents: another image needs another one. */
  imageId: string;
  generated: readonly PlacedFile[];
}

export interface TreeStoreOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  random: Random;
}

/** An image whose ids do not leave room below 2^32 for those of a node's files. */
const IMAGE_ID_MAX = 2 ** 31;

export class TreeStore {
  readonly #store: KeyValueStore;
  readonly #shared: NodeLayerShared;
  readonly #record: StoreRecord;
  readonly #trees = new Map<string, Tree>();
  readonly #images = new WeakMap<FileSystemImage, ImageLayer>();
  readonly #paths = new Map<string, GeneratedPaths>();

  /** Use `openTreeStore`. */
  constructor(options: TreeStoreOptions, record: StoreRecord) {
    this.#store = options.keyValueStore;
    this.#shared = sharedByNodeLayers(options.keyValueStore, new OpenDataFiles(options.dataFiles), options.clock);
    this.#record = record;
  }

  /**
   * The tree of a node, made at the first call. A later call answers with the same object, now over the given
   * generated files. Rejects when the node has written over another image; nothing is changed then.
   */
  async tree(options: TreeOptions): Promise<Tree> {
    const name = nameOf(options.node, options.kind);
    const { record, mutations } = this.#recordFor(options);
    const generated = this.#generate(options, record.treeId, mutations);
    const open = this.#trees.get(name);
    const layer =
      open?.nodeLayer.layerId === record.layerId
        ? open.nodeLayer
        : new NodeLayer(record.layerId, generated, record.firstId, this.#shared);
    const tree = open ?? new Tree(this.#identity(record), generated, layer);
    this.#trees.set(name, tree);
    try {
      await this.#store.write(mutations);
    } catch (error) {
      this.#paths.clear();
      if (open === undefined) this.#trees.delete(name);
      throw error;
    }
    // Dropped meanwhile, the tree has a new layer, and stays on it.
    const now = this.#stored(options.node, options.kind) ?? record;
    tree.stack(this.#identity(now), generated, now.layerId === record.layerId ? layer : tree.nodeLayer);
    return tree;
  }

  /** The stored record, one for a new tree, or one that takes an unwritten tree to another image. */
  #recordFor({ node, kind, image, imageId }: TreeOptions): { record: TreeRecord; mutations: Mutation[] } {
    if (image.lastId > IMAGE_ID_MAX) {
      throw new Error(
        `Cannot make a tree of image ${imageId}: its largest file id is ${image.lastId}, and only ${IMAGE_ID_MAX} is supported`,
      );
    }
    const firstId = image.lastId + 1 + GENERATED_PATHS_MAX;
    const stored = this.#stored(node, kind);
    if (stored?.imageId === imageId && stored.firstId === firstId) return { record: stored, mutations: [] };
    if (stored !== undefined && this.#isWritten(stored.layerId)) {
      throw new Error(
        `Cannot lay the ${kind} tree of node ${node} over image ${imageId}: what the node has written belongs to image ${stored.imageId}; go back to that image, or drop what was written with: bramble nodes reset ${node}`,
      );
    }
    const record: TreeRecord = {
      treeId: stored?.treeId ?? this.#record.nextTreeId++,
      epoch: (stored?.epoch ?? 0) + 1,
      layerId: this.#record.nextLayerId++,
      firstId,
      imageId,
    };
    return { record, mutations: [this.#storeMutation(), { put: treeKey(node, kind), value: encodeTree(record) }] };
  }

  #stored(node: string, kind: TreeKind): TreeRecord | undefined {
    const bytes = this.#store.get(treeKey(node, kind));
    return bytes === undefined ? undefined : decodeTree(bytes);
  }

  #storeMutation(): Mutation {
    return { put: STORE_KEY, value: encodeStore(this.#record) };
  }

  #isWritten(layerId: number): boolean {
    const { from, to } = inodeRange(layerId);
    for (const _ of this.#store.range(from, to)) return true;
    return false;
  }

  #identity({ treeId, epoch }: TreeRecord): TreeIdentity {
    return { treeId, epoch, fsid: (BigInt(this.#record.storeId) << 32n) | BigInt(treeId) };
  }

  #generate(options: TreeOptions, treeId: number, mutations: Mutation[]): GeneratedLayer {
    const { image, imageId, kind, generated } = options;
    const paths = this.#pathsOf(imageId, kind);
    const times = new GeneratedTimes(this.#store, generatedTimesKey(treeId), this.#shared.clock.unixNs());
    const layer = placeFiles(this.#imageLayer(image), generated, {
      firstId: image.lastId + 1,
      indexFor: (path) => paths.indexFor(image.caseSensitive ? path : path.toLowerCase()),
      timeNsFor: (file) => times.timeNsFor(file),
    });
    mutations.push(...paths.mutations(), ...times.mutations());
    return layer;
  }

  #pathsOf(imageId: string, kind: TreeKind): GeneratedPaths {
    const name = nameOf(imageId, kind);
    const known = this.#paths.get(name) ?? new GeneratedPaths(this.#store, generatedPathsKey(imageId, kind));
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
    return TREE_KINDS.some((kind) => {
      const stored = this.#stored(node, kind);
      return stored !== undefined && this.#isWritten(stored.layerId);
    });
  }

  /** Forgets everything the node has written. Its handles become stale; open trees go on, empty. */
  async dropNodeLayer(node: string): Promise<void> {
    const mutations: Mutation[] = [];
    const drops: { before: TreeRecord; goBack: () => void }[] = [];
    for (const kind of TREE_KINDS) {
      const before = this.#stored(node, kind);
      if (before === undefined) continue;
      const after = { ...before, epoch: before.epoch + 1, layerId: this.#record.nextLayerId++ };
      mutations.push(
        { put: treeKey(node, kind), value: encodeTree(after) },
        { removeRange: layerRange(before.layerId) },
      );
      drops.push({ before, goBack: this.#moveToLayer(nameOf(node, kind), before, after) });
    }
    if (drops.length === 0) return;
    try {
      await this.#store.write([this.#storeMutation(), ...mutations]);
    } catch (error) {
      for (const { goBack } of drops) goBack();
      throw error;
    }
    for (const { before } of drops) this.#shared.files.removeFolder(before.layerId.toString(16));
  }

  /** At once, so that nothing is written any more to a layer that is about to go. Returns the way back. */
  #moveToLayer(name: string, before: TreeRecord, after: TreeRecord): () => void {
    const tree = this.#trees.get(name);
    if (tree === undefined) return () => {};
    const { nodeLayer: oldLayer, generatedLayer: generated } = tree;
    const goBack = oldLayer.contents.abandon();
    tree.stack(this.#identity(after), generated, new NodeLayer(after.layerId, generated, after.firstId, this.#shared));
    return () => {
      goBack();
      oldLayer.forget();
      tree.stack(this.#identity(before), tree.generatedLayer, oldLayer);
    };
  }

  /** Folders of layers that no tree has any more: a crash came between a drop and the removal of its data. */
  removeOrphans(): void {
    const { from, to } = TREE_RANGE;
    const used = new Set(Array.from(this.#store.range(from, to), ({ value }) => decodeTree(value).layerId));
    for (const folder of this.#shared.files.dataFiles.list("")) {
      if (!used.has(Number.parseInt(folder, 16))) this.#shared.files.removeFolder(folder);
    }
  }

  /** Makes unstable writes durable and lets go of all files. The key-value store stays open. */
  async close(): Promise<void> {
    const layers = Array.from(this.#trees.values(), (tree) => tree.nodeLayer);
    const results = await Promise.allSettled(layers.map((layer) => layer.contents.close()));
    this.#shared.files.closeAll();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

/** Opens the trees kept in a key-value store and a folder of data files, which belong to nobody else. */
export async function openTreeStore(options: TreeStoreOptions): Promise<TreeStore> {
  const { keyValueStore, random } = options;
  const bytes = keyValueStore.get(STORE_KEY);
  let record: StoreRecord;
  if (bytes !== undefined) record = decodeStore(bytes);
  else {
    const storeId = random.bytes(4).reduce((number, byte) => number * 256 + byte, 0);
    record = { nextTreeId: 1, nextLayerId: 1, storeId };
    await keyValueStore.write([{ put: STORE_KEY, value: encodeStore(record) }]);
  }
  const store = new TreeStore(options, record);
  store.removeOrphans();
  return store;
}

function nameOf(owner: string, kind: TreeKind): string {
  return `${owner}\0${kind}`;
}
