/** One operation's changes to a node layer: staged, then shown at once and stored as one atomic write. */
import type { FileName } from "../bytes/file-name.ts";
import type { InodeAttributes } from "../disk/file-system-image.ts";
import type { CallIdentity } from "../nfs/volume.ts";
import type { Mutation } from "../ports.ts";
import { EMPTY_DATA, hasDataFile } from "./file-data.ts";
import { LATE } from "./late-changes.ts";
import { FIRST_COOKIE, type LayerEntry } from "./layer.ts";
import { FILE_BYTES, type LayerUsage, usageAfter } from "./layer-usage.ts";
import type { NodeLayer } from "./node-layer.ts";
import { type InodeOverride, REMOVED, WHITEOUT_ID } from "./overlay-layer.ts";
import { encodeEntry, encodeInode, encodeUsage, entryKey, entryRange, inodeKey, usageKey } from "./store-records.ts";

/** `entry` undefined: the layer no longer says anything about the name. */
interface StagedName {
  directoryId: number;
  name: FileName;
  entry: LayerEntry | undefined;
}

export interface CommitPromise {
  /** Durable before it is answered, whatever the node asks for. */
  isPromised?: boolean;
  /** Changes nothing but ctime: may be answered at once, whatever the node asks for. */
  isTouch?: boolean;
}

export class NodeChange {
  readonly #layer: NodeLayer;
  readonly #inodes = new Map<number, InodeOverride | typeof REMOVED | undefined>();
  readonly #names: StagedName[] = [];
  readonly #mutations: Mutation[] = [];
  readonly #gone: { id: number; hasDataFile: boolean }[] = [];

  constructor(layer: NodeLayer) {
    this.#layer = layer;
  }

  /** The file's record, to be changed in place. Taken up from the layer below if need be. */
  inode(id: number): InodeOverride {
    const staged = this.#inodes.get(id);
    if (typeof staged === "object") return staged;
    const isNew = this.#layer.record(id) === undefined;
    const current = this.#layer.takenUp(id);
    if (current === undefined) throw new Error(`Cannot change file ${id}: it does not exist`);
    const inode = { ...current, attributes: { ...current.attributes } };
    this.#inodes.set(id, inode);
    if (isNew) this.#pin(id);
    return inode;
  }

  /** A file taken up from a generated layer stays where it is when that layer no longer has it. */
  #pin(id: number): void {
    const place = this.#layer.below.generatedPlace(id);
    if (place === undefined) return;
    const { directoryId, name } = place;
    const isStaged = this.#names.some(
      (staged) => staged.directoryId === directoryId && this.#isSame(staged.name, name),
    );
    if (isStaged || this.#layer.names(directoryId)?.has(this.#layer.key(name))) return;
    this.inode(directoryId);
    this.#names.push({ directoryId, name, entry: place });
  }

  #isSame(one: FileName, other: FileName): boolean {
    return this.#layer.key(one) === this.#layer.key(other);
  }

  linkCount(id: number): number {
    const inode = this.inode(id);
    const linksBelow = inode.whole ? 0 : (this.#layer.linksBelow(id) ?? 0);
    return linksBelow + inode.attributes.linkCount;
  }

  /** A new file without a name yet. */
  add(attributes: InodeAttributes, details: { parentId?: number; target?: FileName; verifier?: Uint8Array }): number {
    this.#layer.account.demand(FILE_BYTES);
    const { id, mutations } = this.#layer.newId();
    this.#mutations.push(...mutations);
    this.#inodes.set(id, {
      attributes,
      whole: true,
      parentId: details.parentId ?? 0,
      nextCookie: attributes.type === "directory" ? FIRST_COOKIE : 0,
      target: details.target ?? ("" as FileName),
      data: attributes.type === "file" ? EMPTY_DATA : undefined,
      verifier: details.verifier,
    });
    return id;
  }

  /** Puts a name, new or in place of another file's; a replaced name keeps its place in the listing. */
  setName(directoryId: number, name: FileName, id: number): void {
    const directory = this.inode(directoryId);
    const cookie = this.#layer.lookup(directoryId, name)?.cookie ?? directory.nextCookie++;
    this.#names.push({ directoryId, name, entry: { name, id, cookie } });
  }

  removeName(directoryId: number, name: FileName): void {
    this.inode(directoryId);
    const below = this.#layer.below.lookup(directoryId, name);
    const entry = below === undefined ? undefined : { ...below, id: WHITEOUT_ID };
    this.#names.push({ directoryId, name, entry });
  }

  /** No name leads to the file any more. */
  removeInode(id: number): void {
    const { attributes, data } = this.inode(id);
    if (attributes.type === "directory") {
      const { from, to } = entryRange(this.#layer.layerId, id);
      this.#mutations.push({ removeRange: { from, to } });
    }
    const isBelow = this.#layer.below.attributes(id) !== undefined;
    this.#inodes.set(id, isBelow ? REMOVED : undefined);
    this.#gone.push({ id, hasDataFile: data !== undefined && hasDataFile(data, attributes.sizeBytes) });
  }

  /** Stores with the change that this call has made it, and of which file. */
  by(call: CallIdentity | undefined, fileId: number): this {
    if (call !== undefined) this.#mutations.push(this.#layer.doneCalls.note(call, fileId));
    return this;
  }

  /**
   * Shows the change and stores it. Resolves when it is durable, or at once if that is all that the node asks for and no
   * more is needed. Rejects, with all of it undone, when the store cannot.
   */
  async commit({ isPromised = false, isTouch = false }: CommitPromise = {}): Promise<void> {
    const layer = this.#layer;
    const mayBeLate = isTouch || layer.account.rules.durability === "async";
    const isLate = !isPromised && mayBeLate && layer.lateChanges.hasRoom;
    const usage = this.#usage();
    // Now: names that are not in memory are read back from the store, which is to show the change at once.
    const before = this.#names.map(({ directoryId, name }) => layer.lookup(directoryId, name));
    const stored = layer.shared.store.write(this.#allMutations(usage), isLate ? LATE : undefined);
    // Only now: what the layer reads back from the store must not be older than what it shows.
    for (const [id, inode] of this.#inodes) layer.show(id, inode);
    for (const [index, { directoryId, name, entry }] of this.#names.entries()) {
      layer.showName(directoryId, name, entry, before[index]);
    }
    layer.showUsage(usage);
    const finished = this.#finish(stored);
    if (isLate) layer.lateChanges.add(finished);
    else await finished;
  }

  async #finish(stored: Promise<void>): Promise<void> {
    const layer = this.#layer;
    try {
      await stored;
    } catch (error) {
      layer.forget();
      throw error;
    }
    await Promise.all(this.#gone.map(({ id, hasDataFile }) => layer.contents.removed(id, hasDataFile)));
  }

  #usage(): LayerUsage {
    let { usage } = this.#layer;
    for (const [id, inode] of this.#inodes) usage = usageAfter(usage, this.#layer.record(id), inode);
    return usage;
  }

  #allMutations(usage: LayerUsage): Mutation[] {
    const { layerId } = this.#layer;
    const mutations = [...this.#mutations];
    if (usage !== this.#layer.usage) mutations.push({ put: usageKey(layerId), value: encodeUsage(usage) });
    for (const [id, inode] of this.#inodes) {
      const key = inodeKey(layerId, id);
      mutations.push(inode === undefined ? { remove: key } : { put: key, value: encodeInode(inode) });
    }
    for (const { directoryId, name, entry } of this.#names) {
      const key = entryKey(layerId, directoryId, this.#layer.key(name));
      mutations.push(entry === undefined ? { remove: key } : { put: key, value: encodeEntry(entry) });
    }
    return mutations;
  }
}
