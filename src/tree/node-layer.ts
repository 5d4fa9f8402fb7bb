/**
 * The durable layer a node writes to. Records lie in the key-value store under the layer's id, contents in data
 * files; nothing is read before the layer is used. The set of overridden ids answers "not changed" from memory.
 */
import type { FileName } from "../bytes/file-name.ts";
import type { Clock, KeyValueStore, Mutation } from "../ports.ts";
import type { ContentSource } from "./content-reader.ts";
import { DoneCalls } from "./done-calls.ts";
import { LateChanges } from "./late-changes.ts";
import type { LayerEntry } from "./layer.ts";
import { CacheBudget, LayerCache } from "./layer-cache.ts";
import { type LayerUsage, storedUsage } from "./layer-usage.ts";
import type { NodeAccount } from "./node-account.ts";
import { NodeChange } from "./node-change.ts";
import { NodeContents } from "./node-contents.ts";
import type { OpenDataFiles } from "./open-data-files.ts";
import { type InodeOverride, overrideFrom, REMOVED } from "./overlay-layer.ts";
import {
  decodeEntry,
  decodeId,
  decodeInode,
  encodeId,
  entryRange,
  idFromInodeKey,
  inodeKey,
  inodeRange,
  nextIdKey,
} from "./store-records.ts";
import { type Ground, WrittenLayer } from "./written-layer.ts";

/** Decoded records and names of all nodes: about 30 MB together. */
const CACHED_RECORDS_MAX = 50_000;
const CACHED_NAMES_MAX = 100_000;

/** New ids are taken from the store in runs of this many: one record for as many new files. */
const IDS_TAKEN_AT_ONCE = 1024;

/** What the node layers of a store share. */
export interface NodeLayerShared {
  store: KeyValueStore;
  files: OpenDataFiles;
  clock: Clock;
  cachedRecords: CacheBudget;
  cachedNames: CacheBudget;
}

export function sharedByNodeLayers(store: KeyValueStore, files: OpenDataFiles, clock: Clock): NodeLayerShared {
  const cachedRecords = new CacheBudget(CACHED_RECORDS_MAX);
  const cachedNames = new CacheBudget(CACHED_NAMES_MAX);
  return { store, files, clock, cachedRecords, cachedNames };
}

export class NodeLayer extends WrittenLayer {
  readonly layerId: number;
  readonly shared: NodeLayerShared;
  readonly contents: NodeContents;
  readonly doneCalls: DoneCalls;
  readonly lateChanges: LateChanges;
  /** Of the node, shared by its trees. */
  readonly account: NodeAccount;
  /** Ids with a record here. Read from the store at the first use. */
  #overridden: Set<number> | undefined;
  readonly #records: LayerCache<InodeOverride | typeof REMOVED>;
  readonly #names: LayerCache<Map<string, LayerEntry>>;
  #isUsed = false;
  #usage: LayerUsage | undefined;
  #nextId: number;
  /** Ids below this one are taken in the store. */
  #takenIds: number;

  constructor(layerId: number, firstId: number, ground: Ground, shared: NodeLayerShared, account: NodeAccount) {
    super(ground);
    this.account = account;
    this.layerId = layerId;
    this.shared = shared;
    this.contents = new NodeContents(this);
    this.doneCalls = new DoneCalls(layerId, shared.store);
    this.lateChanges = new LateChanges(() => {
      shared.files.lossCount += 1;
    });
    this.#records = new LayerCache(shared.cachedRecords);
    this.#names = new LayerCache(shared.cachedNames);
    const taken = shared.store.get(nextIdKey(layerId));
    this.#nextId = taken === undefined ? firstId : decodeId(taken);
    this.#takenIds = this.#nextId;
  }

  get overridden(): ReadonlySet<number> {
    this.#overridden ??= this.#loadOverridden();
    return this.#overridden;
  }

  #loadOverridden(): Set<number> {
    const { from, to } = inodeRange(this.layerId);
    const ids = new Set<number>();
    for (const { key } of this.shared.store.range(from, to)) ids.add(idFromInodeKey(key));
    // Only what a crash has left: later, a data file may wait for its record.
    if (!this.#isUsed) this.contents.removeOrphans(ids);
    this.#isUsed = true;
    return ids;
  }

  /** As the records are, without unstable writes. */
  get usage(): LayerUsage {
    this.#usage ??= storedUsage(this.shared.store, this.layerId);
    return this.#usage;
  }

  /** What the store says, without unstable writes. */
  record(id: number): InodeOverride | typeof REMOVED | undefined {
    if (!this.overridden.has(id)) return undefined;
    const known = this.#records.get(id);
    if (known !== undefined) return known;
    const bytes = this.shared.store.get(inodeKey(this.layerId, id));
    if (bytes === undefined) return undefined;
    const record = decodeInode(bytes);
    this.#records.set(id, record, 1);
    return record;
  }

  override(id: number): InodeOverride | typeof REMOVED | undefined {
    const record = this.record(id);
    return record === REMOVED ? REMOVED : this.contents.withUnstable(id, record);
  }

  /** The file as this layer would hold it: what it holds, or the layer below's taken up. */
  takenUp(id: number): InodeOverride | undefined {
    const record = this.record(id);
    if (record === REMOVED) return undefined;
    if (record !== undefined) return record;
    const attributes = this.below.attributes(id);
    return attributes === undefined ? undefined : overrideFrom(this.below, id, attributes);
  }

  names(directoryId: number): ReadonlyMap<string, LayerEntry> | undefined {
    // Whoever changes a directory's names changes its record too.
    if (!this.overridden.has(directoryId)) return undefined;
    const known = this.#names.get(directoryId);
    if (known !== undefined) return known;
    const { from, to } = entryRange(this.layerId, directoryId);
    const entries = Array.from(this.shared.store.range(from, to), ({ value }) => decodeEntry(value));
    const names = new Map(entries.map((entry) => [this.key(entry.name), entry]));
    this.#names.set(directoryId, names, 1 + names.size);
    return names;
  }

  protected says(id: number): boolean {
    return this.overridden.has(id);
  }

  protected sourceOf(): ContentSource {
    return this;
  }

  begin(): NodeChange {
    return new NodeChange(this);
  }

  /** A new file id, and the mutation that must be stored with its file. */
  newId(): { id: number; mutations: Mutation[] } {
    const id = this.#nextId;
    this.#nextId += 1;
    if (id < this.#takenIds) return { id, mutations: [] };
    this.#takenIds = id + IDS_TAKEN_AT_ONCE;
    return { id, mutations: [{ put: nextIdKey(this.layerId), value: encodeId(this.#takenIds) }] };
  }

  /** Shows what is on its way to the store. Only for `NodeChange`. */
  show(id: number, record: InodeOverride | typeof REMOVED | undefined): void {
    const overridden = this.overridden as Set<number>;
    if (typeof record !== "object") this.forgetListing(id);
    if (record === undefined) {
      overridden.delete(id);
      this.#records.delete(id, 1);
      this.#names.delete(id, 1 + (this.#names.get(id)?.size ?? 0));
      return;
    }
    overridden.add(id);
    this.#records.set(id, record, 1);
  }

  showUsage(usage: LayerUsage): void {
    this.#usage = usage;
  }

  /** `before`: what the name led to before the change was on its way. */
  showName(directoryId: number, name: FileName, entry: LayerEntry | undefined, before: LayerEntry | undefined): void {
    const names = this.names(directoryId) as Map<string, LayerEntry> | undefined;
    const countBefore = names?.size ?? 0;
    if (entry === undefined) names?.delete(this.key(name));
    else names?.set(this.key(name), entry);
    const growth = (names?.size ?? 0) - countBefore;
    if (names !== undefined && growth !== 0) this.#names.grow(directoryId, growth, 1 + names.size);
    this.changeListing(directoryId, before, this.lookup(directoryId, name));
  }

  /** The store has undone writes: what is remembered may be wrong. */
  forget(): void {
    this.#overridden = undefined;
    this.#usage = undefined;
    this.#takenIds = this.#nextId;
    this.#records.clear();
    this.#names.clear();
    this.forgetListings();
    this.contents.forgetLost();
    this.doneCalls.forget();
  }
}
