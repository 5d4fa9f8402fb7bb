/**
 * The structure of all trees: which layers each consists of, and which ids are given to what. Only one process writes
 * it. What nodes write goes through `TreeStore`; a tree must be released there while its structure changes here.
 */
import type { FileSystemImage } from "../disk/file-system-image.ts";
import { GENERATED_PATHS_MAX } from "../limits.ts";
import type { Clock, DataFiles, KeyValueStore, Mutation, Random } from "../ports.ts";
import { GeneratedPaths, GeneratedTimes } from "./generated-ids.ts";
import { placeFiles } from "./generated-layer.ts";
import { ImageLayer } from "./image-layer.ts";
import { LayerCollector } from "./layer-collector.ts";
import { inodeRange, nextIdKey } from "./store-records.ts";
import {
  decodeStore,
  decodeTree,
  encodeStore,
  encodeTree,
  generatedPathsKey,
  generatedTimesKey,
  STORE_KEY,
  type StoreRecord,
  type TreeRecord,
  treeKey,
} from "./structure-records.ts";
import {
  type GeneratedDescription,
  TREE_KINDS,
  type TreeDescription,
  type TreeKind,
  type TreeOptions,
} from "./tree-description.ts";

export interface TreeCatalogOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  random: Random;
}

/** An image whose ids do not leave room below 2^32 for those of a node's files. */
const IMAGE_ID_MAX = 2 ** 31;

export class TreeCatalog {
  readonly #store: KeyValueStore;
  readonly #clock: Clock;
  readonly #record: StoreRecord;
  readonly #layers: LayerCollector;
  readonly #images = new WeakMap<FileSystemImage, ImageLayer>();
  readonly #paths = new Map<string, GeneratedPaths>();

  /** Use `openTreeCatalog`. */
  constructor(options: TreeCatalogOptions, record: StoreRecord, layers: LayerCollector) {
    this.#store = options.keyValueStore;
    this.#clock = options.clock;
    this.#record = record;
    this.#layers = layers;
  }

  /**
   * Describes the tree of a node, which is made at the first call, over the given generated files. Resolves when
   * everything that is described is durable. Rejects when the node has written over another image; nothing is changed
   * then.
   */
  async tree(options: TreeOptions): Promise<TreeDescription> {
    const { node, kind, imageId } = options;
    const { record, isNewLayer, mutations } = this.#recordFor(options);
    const generated = this.#describe(options, record.treeId, mutations);
    const before = this.#stored(node, kind);
    if (isNewLayer) this.#layers.use(record.layerId);
    try {
      await this.#store.write(mutations);
    } catch (error) {
      this.#paths.clear();
      if (isNewLayer) this.#layers.release(record.layerId);
      throw error;
    }
    if (isNewLayer && before !== undefined) this.#layers.release(before.layerId);
    const { treeId, epoch, firstId, layerId } = record;
    const layers = this.#layers.stackOf(layerId);
    return { node, kind, treeId, epoch, fsid: this.#fsid(treeId), imageId, firstId, layers, generated };
  }

  /** The stored record, one for a new tree, or one that takes an unwritten tree to another image. */
  #recordFor({ node, kind, image, imageId }: TreeOptions) {
    if (image.lastId > IMAGE_ID_MAX) {
      throw new Error(
        `Cannot make a tree of image ${imageId}: its largest file id is ${image.lastId}, and only ${IMAGE_ID_MAX} is supported`,
      );
    }
    const firstId = image.lastId + 1 + GENERATED_PATHS_MAX;
    const stored = this.#stored(node, kind);
    if (stored?.imageId === imageId && stored.firstId === firstId) {
      return { record: stored, isNewLayer: false, mutations: [] };
    }
    if (stored !== undefined && this.#isWritten(stored)) {
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
    const mutations: Mutation[] = [this.#storeMutation(), { put: treeKey(node, kind), value: encodeTree(record) }];
    return { record, isNewLayer: true, mutations };
  }

  #stored(node: string, kind: TreeKind): TreeRecord | undefined {
    const bytes = this.#store.get(treeKey(node, kind));
    return bytes === undefined ? undefined : decodeTree(bytes);
  }

  #storeMutation(): Mutation {
    return { put: STORE_KEY, value: encodeStore(this.#record) };
  }

  #isWritten({ layerId }: TreeRecord): boolean {
    if (this.#layers.parentOf(layerId) !== undefined) return true;
    const { from, to } = inodeRange(layerId);
    for (const _ of this.#store.range(from, to)) return true;
    return false;
  }

  #fsid(treeId: number): bigint {
    return (BigInt(this.#record.storeId) << 32n) | BigInt(treeId);
  }

  /** Places the files once, to learn which paths and times they need. */
  #describe(options: TreeOptions, treeId: number, mutations: Mutation[]): GeneratedDescription {
    const { image, imageId, kind, generated: files } = options;
    const paths = this.#pathsOf(imageId, kind);
    const times = new GeneratedTimes(this.#store, generatedTimesKey(treeId), this.#clock.unixNs());
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
      return stored !== undefined && this.#isWritten(stored);
    });
  }

  /** Forgets everything the node has written. Its handles become stale. Resolves when that is durable. */
  async dropNodeLayer(node: string): Promise<void> {
    const mutations: Mutation[] = [];
    const drops: { before: number; after: number }[] = [];
    for (const kind of TREE_KINDS) {
      const before = this.#stored(node, kind);
      if (before === undefined) continue;
      const after = { ...before, epoch: before.epoch + 1, layerId: this.#record.nextLayerId++ };
      mutations.push({ put: treeKey(node, kind), value: encodeTree(after) });
      // Ids go on: a snapshot that is restored later has files under those that were given already.
      const nextId = this.#store.get(nextIdKey(before.layerId));
      if (nextId !== undefined) mutations.push({ put: nextIdKey(after.layerId), value: nextId });
      drops.push({ before: before.layerId, after: after.layerId });
    }
    if (drops.length > 0) await this.#moveLayers(drops, mutations);
  }

  /** Stores a change by which something leads to other layers than before. */
  async #moveLayers(moves: readonly { before?: number; after: number }[], mutations: Mutation[]): Promise<void> {
    const stored = this.#store.write([this.#storeMutation(), ...mutations]);
    for (const { after } of moves) this.#layers.use(after);
    try {
      await stored;
    } catch (error) {
      for (const { after } of moves) this.#layers.release(after);
      throw error;
    }
    for (const { before } of moves) if (before !== undefined) this.#layers.release(before);
  }

  /** Resolves when layers that nothing uses any more are gone from the disk. */
  collected(): Promise<void> {
    return this.#layers.collected();
  }

  /** Waits for what is under way. The key-value store stays open. */
  close(): Promise<void> {
    return this.#layers.collected();
  }
}

/** Opens the structure kept in a key-value store and a folder of data files, which no other process writes. */
export async function openTreeCatalog(options: TreeCatalogOptions): Promise<TreeCatalog> {
  const { keyValueStore, dataFiles, random } = options;
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
  return new TreeCatalog(options, record, layers);
}
