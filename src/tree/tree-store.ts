/**
 * The open trees of some nodes: what their nodes write goes through here into the active layers, which no other process
 * writes. Which layers a tree has is the catalog's to say.
 */
import type { FileSystemImage } from "../disk/file-system-image.ts";
import { Turn } from "../order/turns.ts";
import type { Clock, DataFiles, KeyValueStore, Random } from "../ports.ts";
import { FrozenLayer } from "./frozen-layer.ts";
import { FrozenLayers, type GrownFrom } from "./frozen-layers.ts";
import { GatedVolume } from "./gated-volume.ts";
import { layDescribed } from "./generated-description.ts";
import type { GeneratedLayer } from "./generated-layer.ts";
import { ImageLayer } from "./image-layer.ts";
import { storedUsage, usedBytes } from "./layer-usage.ts";
import { NodeAccount } from "./node-account.ts";
import { NodeLayer, type NodeLayerShared, sharedByNodeLayers } from "./node-layer.ts";
import { dataFolder, OpenDataFiles } from "./open-data-files.ts";
import { Tree } from "./tree.ts";
import { openTreeCatalog, type TreeCatalog } from "./tree-catalog.ts";
import { TREE_KINDS, type TreeDescription, type TreeKind, type TreeOptions } from "./tree-description.ts";
import type { Ground } from "./written-layer.ts";

export interface TreeStoreOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  /** Only for a store that keeps its own catalog. */
  random?: Random;
}

interface Described {
  description: TreeDescription;
  image: FileSystemImage;
}

interface OpenTree extends Described {
  tree: Tree;
  volume: GatedVolume;
  frozen: FrozenLayers | undefined;
  /** Takes back that unstable writes were given up. Set while the tree is released. */
  takeBack: (() => void) | undefined;
}

export class TreeStore {
  readonly #shared: NodeLayerShared;
  readonly #ownCatalog: TreeCatalog | undefined;
  readonly #trees = new Map<string, OpenTree>();
  readonly #images = new WeakMap<FileSystemImage, ImageLayer>();
  /** By layer ids. */
  readonly #frozen = new Map<string, WeakRef<FrozenLayers>>();
  readonly #accounts = new Map<string, NodeAccount>();
  readonly #turn = new Turn();

  /** Use `openTreeStore`. */
  constructor(options: TreeStoreOptions, ownCatalog: TreeCatalog | undefined) {
    this.#shared = sharedByNodeLayers(options.keyValueStore, new OpenDataFiles(options.dataFiles), options.clock);
    this.#ownCatalog = ownCatalog;
  }

  /** Opens a tree as described. One that was open before goes on as the same object, over the layers described. */
  async open(description: TreeDescription, image: FileSystemImage): Promise<Tree> {
    const { node, kind, treeId, epoch, fsid, firstId, layers } = description;
    // The layers described may have been made this moment, by another process: with ids that are taken already.
    this.#shared.store.catchUp();
    const name = nameOf(node, kind);
    const open = this.#trees.get(name);
    const imageLayer = this.#imageLayer(image);
    const generated = layDescribed(imageLayer, description.generated);
    const frozen = this.#frozenLayers(layers.slice(0, -1), open);
    const ground = groundOf(frozen, generated, imageLayer);
    const layerId = layers.at(-1)!;
    const isSameLayer = open?.tree.nodeLayer.layerId === layerId;
    const account = this.#account(node);
    account.rules = description.rules;
    const layer = isSameLayer ? open.tree.nodeLayer : new NodeLayer(layerId, firstId, ground, this.#shared, account);
    const frozenUsage = layers.slice(0, -1).map((id) => usedBytes(storedUsage(this.#shared.store, id)));
    account.place(kind, { active: layer, frozenBytes: frozenUsage.reduce((sum, bytes) => sum + bytes, 0) });
    layer.layOver(ground);
    const identity = { treeId, epoch, fsid };
    const tree = open?.tree ?? new Tree(identity, generated, layer);
    if (isSameLayer) open.takeBack?.();
    else if (open !== undefined) this.#leaveLayers(open, layers);
    tree.stack(identity, generated, layer);
    const volume = open?.volume ?? new GatedVolume(tree);
    this.#trees.set(name, { tree, volume, frozen, description, image, takeBack: undefined });
    volume.open();
    return tree;
  }

  #leaveLayers({ tree, description }: OpenTree, stays: readonly number[]): void {
    tree.nodeLayer.forget();
    for (const id of description.layers) if (!stays.includes(id)) this.#shared.files.closeFolder(dataFolder(id));
  }

  #account(node: string): NodeAccount {
    const known = this.#accounts.get(node) ?? new NodeAccount();
    this.#accounts.set(node, known);
    return known;
  }

  /** One object for all trees that lie on the same layers. */
  #frozenLayers(layerIds: readonly number[], before: OpenTree | undefined): FrozenLayers | undefined {
    if (layerIds.length === 0) return undefined;
    const name = layerIds.join();
    const known = this.#frozen.get(name)?.deref();
    if (known !== undefined) return known;
    for (const [other, layers] of this.#frozen) if (layers.deref() === undefined) this.#frozen.delete(other);
    const layers = new FrozenLayers(layerIds, this.#shared, grownFrom(layerIds, before));
    this.#frozen.set(name, new WeakRef(layers));
    return layers;
  }

  #imageLayer(image: FileSystemImage): ImageLayer {
    const known = this.#images.get(image) ?? new ImageLayer(image);
    this.#images.set(image, known);
    return known;
  }

  /** An open tree as its clients are to see it: their calls wait while it is released. */
  volume(node: string, kind: TreeKind): GatedVolume | undefined {
    return this.#trees.get(nameOf(node, kind))?.volume;
  }

  /**
   * Lets go of a node's trees, so that their structure can be changed, until they are opened again. Calls under way are
   * finished, new ones wait; unstable writes are made durable. With `abandon` they are given up, unless the tree is
   * opened with the same layers again. Rejects when they cannot be made durable; the trees then go on as before.
   */
  async release(node: string, { abandon = false }: { abandon?: boolean } = {}): Promise<void> {
    const trees = this.#openTreesOf(node);
    await Promise.all(trees.map(({ volume }) => volume.shut()));
    await Promise.all(trees.map(({ tree }) => tree.nodeLayer.contents.settle()));
    try {
      if (!abandon) await Promise.all(trees.map(({ tree }) => tree.flush()));
      for (const open of trees) open.takeBack ??= open.tree.nodeLayer.contents.abandon();
      await this.#shared.store.flush();
    } catch (error) {
      for (const { description, image } of trees) await this.open(description, image);
      throw error;
    }
  }

  #openTreesOf(node: string): OpenTree[] {
    return TREE_KINDS.flatMap((kind) => this.#trees.get(nameOf(node, kind)) ?? []);
  }

  /** Makes durable what a node has written and closes its trees. Calls that come later are refused as stale. */
  async forget(node: string): Promise<void> {
    await this.release(node);
    for (const kind of TREE_KINDS) {
      this.#trees.get(nameOf(node, kind))?.volume.end();
      this.#trees.delete(nameOf(node, kind));
    }
    this.#accounts.delete(node);
  }

  /** Makes unstable writes durable and lets go of all files. The key-value store stays open. */
  async close(): Promise<void> {
    const layers = Array.from(this.#trees.values(), ({ tree }) => tree.nodeLayer);
    const results = await Promise.allSettled(layers.map((layer) => layer.contents.close()));
    this.#shared.files.closeAll();
    await this.#ownCatalog?.close();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** The catalog of a store that is alone with its trees. */
  get catalog(): TreeCatalog {
    if (this.#ownCatalog === undefined) throw new Error("Cannot change structure: this tree store has no catalog");
    return this.#ownCatalog;
  }

  /** Describes a tree and opens it, in one process. */
  tree(options: TreeOptions): Promise<Tree> {
    const { node, kind, image } = options;
    return this.#turn.run(async () => {
      if (!this.#trees.has(nameOf(node, kind))) return this.open(await this.catalog.tree(options), image);
      await this.#restructure([node], {}, async () => [{ description: await this.catalog.tree(options), image }]);
      return this.#trees.get(nameOf(node, kind))!.tree;
    });
  }

  hasNodeLayer(node: string): boolean {
    return this.catalog.hasNodeLayer(node);
  }

  /** Forgets everything the node has written. Its handles become stale; open trees go on, empty. */
  dropNodeLayer(node: string): Promise<void> {
    return this.changeStructure([node], (catalog) => catalog.dropNodeLayer(node), { abandon: true });
  }

  /** Changes the layers of these nodes' trees, which are released meanwhile. */
  changeStructure(
    nodes: readonly string[],
    change: (catalog: TreeCatalog) => Promise<void>,
    how: { abandon?: boolean } = {},
  ): Promise<void> {
    return this.#turn.run(async () => {
      await this.#restructure(nodes, how, async () => {
        await change(this.catalog);
        return (await Promise.all(nodes.map((node) => this.#describeAgain(node)))).flat();
      });
      await this.catalog.collected();
    });
  }

  /** `change` tells which trees are others now; the rest is opened again as it was. */
  async #restructure(
    nodes: readonly string[],
    how: { abandon?: boolean },
    change: () => Promise<Described[]>,
  ): Promise<void> {
    await Promise.all(nodes.map((node) => this.release(node, how)));
    let changed: Described[] = [];
    try {
      changed = await change();
    } finally {
      const ids = new Set(changed.map(({ description }) => description.treeId));
      const same = nodes.flatMap((node) => this.#openTreesOf(node).filter((open) => !ids.has(open.description.treeId)));
      for (const { description, image } of [...changed, ...same]) await this.open(description, image);
    }
  }

  /** The open trees as the catalog has them now, over the same generated files. */
  #describeAgain(node: string): Promise<Described[]> {
    const described = this.#openTreesOf(node).map(async ({ description, image }) => {
      const generated = description.generated.files;
      return { description: await this.catalog.tree({ ...description, image, generated }), image };
    });
    return Promise.all(described);
  }
}

function nameOf(node: string, kind: TreeKind): string {
  return `${node}\0${kind}`;
}

function groundOf(frozen: FrozenLayers | undefined, generated: GeneratedLayer, image: ImageLayer): Ground {
  const ground = { below: generated, inherited: image };
  if (frozen === undefined) return ground;
  const overImage = { below: image, inherited: image };
  return { below: new FrozenLayer(frozen, ground), inherited: new FrozenLayer(frozen, overImage) };
}

/** When the layers are those of a tree with its active one frozen: what is known of them. */
function grownFrom(layerIds: readonly number[], before: OpenTree | undefined): GrownFrom | undefined {
  if (before?.description.layers.join() !== layerIds.join()) return undefined;
  return { lower: before.frozen, ids: before.tree.nodeLayer.overridden };
}

/** Opens the trees kept in a key-value store and a folder of data files. With `random` it keeps a catalog of its own. */
export async function openTreeStore(options: TreeStoreOptions): Promise<TreeStore> {
  const { random } = options;
  return new TreeStore(options, random === undefined ? undefined : await openTreeCatalog({ ...options, random }));
}
