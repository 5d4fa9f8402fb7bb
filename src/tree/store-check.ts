/**
 * Checks a store of trees as a whole: every record, every data file, and that they fit each other and their images. Says
 * what it finds in plain words. What is merely left over can be removed, and counters can be set right; what a node has
 * written is never changed.
 */
import { fileNameFromText } from "../bytes/file-name.ts";
import type { FileSystemImage } from "../disk/file-system-image.ts";
import type { Clock, DataFiles, KeyValueStore, Mutation } from "../ports.ts";
import { GeneratedPaths } from "./generated-ids.ts";
import { nameKey } from "./layer.ts";
import { type CheckedLayer, checkLayer } from "./layer-check.ts";
import { dataFolder, layerOfFolder } from "./open-data-files.ts";
import { decodeId, encodeId, layerRange, nextIdKey } from "./store-records.ts";
import { layersDownFrom, storedLayerIds } from "./stored-layers.ts";
import {
  decodeSnapshot,
  decodeStore,
  decodeTree,
  encodeStore,
  generatedPathsKey,
  nodeOfKey,
  SNAPSHOTS_RANGE,
  STORE_KEY,
  type StoreRecord,
  snapshotNameOfKey,
  TREE_RANGE,
} from "./structure-records.ts";
import { checkTree } from "./tree-check.ts";

/** How it can be put right; absent: not without losing what a node wrote. */
export interface Repair {
  mutations?: readonly Mutation[];
  dataFile?: string;
}

export interface Finding {
  /** Where and what, in plain words. */
  text: string;
  /** `leftover`: nobody misses anything. `damage`: something that was written may be wrong or lost. */
  kind: "leftover" | "damage";
  repair?: Repair;
}

export interface StoreCheckOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  /** `undefined`: not there; its trees are then checked as far as that goes. */
  imageOf(imageId: string, kind: string): FileSystemImage | undefined;
}

export interface StoreReport {
  findings: Finding[];
  counts: { trees: number; snapshots: number; layers: number; records: number; dataFiles: number };
}

/** A tree, or a tree of a snapshot: what leads to layers. */
interface Stack {
  name: string;
  kind: string;
  layerId: number;
  /** That one and those under it, from the lowest up. */
  layerIds: readonly number[];
  firstId: number;
  imageId: string;
  isActive: boolean;
}

export function checkStore(options: StoreCheckOptions): StoreReport {
  return new StoreCheck(options).run();
}

class StoreCheck {
  readonly #options: StoreCheckOptions;
  readonly #store: KeyValueStore;
  readonly #findings: Finding[] = [];
  readonly #layers = new Map<number, CheckedLayer>();
  readonly #counts = { trees: 0, snapshots: 0, layers: 0, records: 0, dataFiles: 0 };

  constructor(options: StoreCheckOptions) {
    this.#options = options;
    this.#store = options.keyValueStore;
  }

  #find(kind: Finding["kind"], text: string, repair?: Repair): void {
    this.#findings.push({ kind, text, ...(repair && { repair }) });
  }

  /** What `decode` answers, or `undefined` with a finding. */
  #decoded<T>(what: string, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      this.#find("damage", `${what}: ${(error as Error).message}`);
      return undefined;
    }
  }

  run(): StoreReport {
    const bytes = this.#store.get(STORE_KEY);
    const record = bytes === undefined ? undefined : this.#decoded("the store record", () => decodeStore(bytes));
    const found = this.#findings.length;
    const stacks = this.#stacks();
    const isStructureRead = this.#findings.length === found;
    if (bytes === undefined && stacks.length > 0) this.#find("damage", "the store record is missing");
    this.#checkLayers();
    const reachable = new Set(stacks.flatMap(({ layerIds }) => layerIds));
    for (const layerId of this.#layers.keys()) {
      if (reachable.has(layerId)) continue;
      if (isStructureRead) this.#leftoverLayer(layerId);
      else this.#find("damage", `layer ${layerId}: nothing that can be read leads to it`);
    }
    if (record !== undefined) this.#checkNumbers(record, stacks);
    for (const stack of stacks) this.#checkStack(stack);
    this.#counts.layers = this.#layers.size;
    return { findings: this.#findings, counts: this.#counts };
  }

  #stacks(): Stack[] {
    const stacks: Stack[] = [];
    for (const { key, value } of this.#store.range(TREE_RANGE.from, TREE_RANGE.to)) {
      const { node, rest: kind } = nodeOfKey(key);
      const name = `the ${kind} tree of ${node}`;
      const tree = this.#decoded(name, () => decodeTree(value));
      if (tree !== undefined) stacks.push(this.#stack({ name, kind, isActive: true, ...tree }));
      this.#counts.trees += 1;
    }
    for (const { key, value } of this.#store.range(SNAPSHOTS_RANGE.from, SNAPSHOTS_RANGE.to)) {
      const name = `snapshot ${snapshotNameOfKey(key)} of ${nodeOfKey(key).node}`;
      const trees = this.#decoded(name, () => decodeSnapshot(value).trees) ?? [];
      for (const tree of trees) {
        stacks.push(this.#stack({ name: `the ${tree.kind} tree in ${name}`, isActive: false, ...tree }));
      }
      this.#counts.snapshots += 1;
    }
    return stacks;
  }

  #stack<S extends Omit<Stack, "layerIds">>(stack: S): S & Stack {
    return { ...stack, layerIds: this.#layersUnder(stack.name, stack.layerId) };
  }

  /** From the lowest up, as far as they can be read. */
  #layersUnder(name: string, layerId: number): number[] {
    const ids: number[] = [];
    this.#decoded(name, () => {
      for (const id of layersDownFrom(this.#store, layerId)) ids.push(id);
    });
    return ids.reverse();
  }

  #checkLayers(): void {
    const ids = new Set<number>();
    this.#decoded("a layer's key", () => {
      for (const layerId of storedLayerIds(this.#store)) ids.add(layerId);
    });
    for (const folder of this.#options.dataFiles.list("")) {
      const layerId = layerOfFolder(folder);
      if (layerId !== undefined) ids.add(layerId);
      // A disk of its own has that.
      else if (folder !== "lost+found")
        this.#find("damage", `the folder of data files has an entry ${folder} that is no layer`);
    }
    for (const layerId of [...ids].sort((one, other) => one - other)) {
      const layer = checkLayer(layerId, this.#store, this.#options.dataFiles);
      this.#layers.set(layerId, layer);
      this.#findings.push(...layer.findings);
      this.#counts.records += layer.recordCount;
      this.#counts.dataFiles += layer.dataFileCount;
    }
  }

  #leftoverLayer(layerId: number): void {
    const { from, to } = layerRange(layerId);
    const folder = dataFolder(layerId);
    this.#find("leftover", `layer ${layerId}: nothing leads to it`, { mutations: [{ removeRange: { from, to } }] });
    for (const name of this.#options.dataFiles.list(folder)) {
      this.#find("leftover", `layer ${layerId}: data file ${name} of a layer that nothing leads to`, {
        dataFile: `${folder}/${name}`,
      });
    }
  }

  #checkNumbers(record: StoreRecord, stacks: readonly Stack[]): void {
    const trees = stacks.filter(({ isActive }) => isActive) as (Stack & { treeId: number })[];
    const active = new Map<number, string>();
    const numbers = new Map<number, string>();
    for (const { name, layerId, treeId } of trees) {
      if (active.has(layerId))
        this.#find("damage", `${name} and ${active.get(layerId)} write to the same layer ${layerId}`);
      if (numbers.has(treeId))
        this.#find("damage", `${name} and ${numbers.get(treeId)} have the same number ${treeId}`);
      active.set(layerId, name);
      numbers.set(treeId, name);
    }
    for (const { name, layerIds, isActive } of stacks) {
      const below = layerIds.slice(0, isActive ? -1 : undefined);
      for (const id of below)
        if (active.has(id)) this.#find("damage", `${name} lies on layer ${id}, which ${active.get(id)} writes`);
    }
    const nextLayerId = 1 + Math.max(0, ...this.#layers.keys(), ...stacks.map(({ layerId }) => layerId));
    const nextTreeId = 1 + Math.max(0, ...numbers.keys());
    if (record.nextLayerId >= nextLayerId && record.nextTreeId >= nextTreeId) return;
    const value = encodeStore({
      ...record,
      nextLayerId: Math.max(record.nextLayerId, nextLayerId),
      nextTreeId: Math.max(record.nextTreeId, nextTreeId),
    });
    this.#find("damage", "the store record: its next numbers are taken already", {
      mutations: [{ put: STORE_KEY, value }],
    });
  }

  #checkStack(stack: Stack): void {
    const { layerIds } = stack;
    if (stack.isActive) this.#checkNextId(stack);
    const layers = layerIds.map((id) => this.#layers.get(id));
    const isUnsound = (finding: Finding) => finding.kind === "damage" && finding.repair === undefined;
    if (layers.some((layer) => layer?.findings.some(isUnsound))) return;
    const image = this.#options.imageOf(stack.imageId, stack.kind);
    if (image === undefined) {
      this.#find("damage", `${stack.name}: its image ${stack.imageId} is not there; names and links were not checked`);
      return;
    }
    const { keyValueStore, dataFiles, clock } = this.#options;
    const generatedNames = this.#generatedNames(stack, image.caseSensitive);
    const texts = checkTree({
      keyValueStore,
      dataFiles,
      clock,
      image,
      layerIds,
      firstId: stack.firstId,
      generatedNames,
    });
    for (const text of texts) this.#find("damage", `${stack.name}: ${text}`);
  }

  #generatedNames({ imageId, kind }: Stack, caseSensitive: boolean): Set<string> {
    const paths = this.#decoded(
      `the generated paths of image ${imageId}`,
      () => new GeneratedPaths(this.#store, generatedPathsKey(imageId, kind)).paths,
    );
    const names = (paths ?? []).map((path) => fileNameFromText(path.slice(path.lastIndexOf("/") + 1)));
    return new Set(names.map((name) => nameKey(name, caseSensitive)));
  }

  /** A file id must not be given a second time. */
  #checkNextId({ name, layerId, layerIds, firstId }: Stack): void {
    const bytes = this.#store.get(nextIdKey(layerId));
    const next = bytes === undefined ? firstId : this.#decoded(`${name}: the next file id`, () => decodeId(bytes));
    const lastId = Math.max(0, ...layerIds.map((id) => this.#layers.get(id)?.lastId ?? 0));
    if (next === undefined || lastId < next) return;
    const mutations = [{ put: nextIdKey(layerId), value: encodeId(lastId + 1) }];
    this.#find("damage", `${name}: the next file id ${next} is not above ${lastId}, which is taken`, { mutations });
  }
}

/** Removes what is left over and sets numbers right. Returns what could not be repaired. */
export async function repairStore(report: StoreReport, options: StoreCheckOptions): Promise<Finding[]> {
  for (const { repair } of report.findings) {
    if (repair?.mutations !== undefined) await options.keyValueStore.write(repair.mutations);
    if (repair?.dataFile !== undefined) await options.dataFiles.remove(repair.dataFile);
  }
  return report.findings.filter(({ repair }) => repair === undefined);
}
