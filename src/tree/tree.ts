/** One node's file system: image, generated layer and node layer as one volume that can be read and written. */
import type { FileName } from "../bytes/file-name.ts";
import { FILE_BYTES_MAX } from "../limits.ts";
import {
  type AttributeChanges,
  type CallIdentity,
  type Volume,
  type VolumeAttributes,
  type VolumeEntry,
  VolumeError,
  type VolumeSpace,
} from "../nfs/volume.ts";
import type { XdrWriter } from "../nfs/xdr.ts";
import type { Awaitable } from "../ports.ts";
import type { GeneratedLayer } from "./generated-layer.ts";
import type { NodeLayer } from "./node-layer.ts";
import { type ReadBytes, readBytes } from "./read-bytes.ts";
import { listFrom, lookupPath } from "./tree-lookup.ts";
import * as names from "./tree-names.ts";
import { TreeNaming } from "./tree-naming.ts";
import { refusing } from "./volume-failure.ts";

/** What the store knows of a tree. Changes when its node layer is dropped. */
export interface TreeIdentity {
  /** Unique in the store, the same for the life of the (node, kind). */
  treeId: number;
  epoch: number;
  fsid: bigint;
}

export class Tree extends TreeNaming implements Volume {
  readonly readOnly = false;
  #identity: TreeIdentity;
  #generated: GeneratedLayer;
  #layer: NodeLayer;
  #lastNs = 0n;

  constructor(identity: TreeIdentity, generated: GeneratedLayer, layer: NodeLayer) {
    super();
    this.#identity = identity;
    this.#generated = generated;
    this.#layer = layer;
  }

  get treeId(): number {
    return this.#identity.treeId;
  }

  get epoch(): number {
    return this.#identity.epoch;
  }

  get fsid(): bigint {
    return this.#identity.fsid;
  }

  get rootId(): number {
    return this.#layer.rootId;
  }

  get caseSensitive(): boolean {
    return this.#layer.caseSensitive;
  }

  get lossCount(): number {
    return this.#layer.shared.files.lossCount;
  }

  /** The layer the node writes to. For `TreeStore`. */
  get nodeLayer(): NodeLayer {
    return this.#layer;
  }

  get generatedLayer(): GeneratedLayer {
    return this.#generated;
  }

  /** Goes on with other layers. For `TreeStore`. */
  stack(identity: TreeIdentity, generated: GeneratedLayer, layer: NodeLayer): void {
    this.#identity = identity;
    this.#generated = generated;
    this.#layer = layer;
  }

  /** Rises with every change, however coarse the clock: clients tell by times that a file has changed. */
  protected nowNs(): bigint {
    const nowNs = this.#layer.shared.clock.unixNs();
    this.#lastNs = nowNs > this.#lastNs ? nowNs : this.#lastNs + 1n;
    return this.#lastNs;
  }

  getattr(id: number): VolumeAttributes {
    return { id, ...names.attributesOf(this.#layer, id) };
  }

  writeAttributes(id: number, writer: XdrWriter): boolean {
    return this.#layer.writeAttributes(id, this.#identity.fsid, writer);
  }

  writeEntries(directoryId: number, listed: readonly VolumeEntry[], writer: XdrWriter): boolean {
    return this.#layer.writeEntries(directoryId, listed, this.#identity.fsid, writer);
  }

  lookup(directoryId: number, name: FileName): number | undefined {
    names.checkDirectory(this.#layer, directoryId);
    if (name === ".") return directoryId;
    if (name === "..") return directoryId === this.rootId ? directoryId : this.#layer.parentOf(directoryId);
    return this.#layer.lookup(directoryId, name)?.id;
  }

  readlink(id: number): FileName {
    if (names.attributesOf(this.#layer, id).type !== "symlink") throw new VolumeError("NFS3ERR_INVAL");
    return this.#layer.symlinkTarget(id);
  }

  #checkFile(id: number): VolumeAttributes {
    const attributes = this.getattr(id);
    if (attributes.type === "directory") throw new VolumeError("NFS3ERR_ISDIR");
    if (attributes.type !== "file") throw new VolumeError("NFS3ERR_INVAL");
    return attributes;
  }

  read(id: number, offset: number, countBytes: number): ReturnType<Volume["read"]> {
    return refusing(() => {
      const { sizeBytes } = this.#checkFile(id);
      const answer = (read: ReadBytes) => ({ ...read, endOfFile: offset + read.bytes.length >= sizeBytes });
      const read = readBytes(this.#layer, id, offset, Math.max(0, Math.min(countBytes, sizeBytes - offset)));
      return read instanceof Promise ? read.then(answer) : answer(read);
    });
  }

  readRange(id: number, offset: number, countBytes: number): ReturnType<NonNullable<Volume["readRange"]>> {
    return refusing(() => {
      const { sizeBytes } = this.#checkFile(id);
      const range = this.#layer.rangeNow(id, offset, Math.min(countBytes, sizeBytes - offset));
      return range && { range, endOfFile: offset + range.lengthBytes >= sizeBytes };
    });
  }

  write(id: number, offset: number, bytes: Uint8Array, stable: boolean): Awaitable<void> {
    return refusing(() => {
      const known = this.#checkFile(id);
      if (offset + bytes.length > FILE_BYTES_MAX) throw new VolumeError("NFS3ERR_FBIG");
      const { contents } = this.#layer;
      const nowNs = this.nowNs();
      const takenUp = this.#takeUp(known, nowNs);
      // Both can fail, on a full disk: when the write does at once, nobody waits for this any more.
      takenUp?.catch(() => {});
      const written = bytes.length === 0 ? undefined : contents.write(id, bytes, offset, nowNs);
      if (takenUp === undefined && written === undefined && !stable) return undefined;
      // Not answered before the bytes are not needed any more, also where the first has failed.
      return Promise.allSettled([takenUp, written])
        .then(() => Promise.all([takenUp, written]))
        .then(() => (stable ? contents.flush(id) : undefined));
    });
  }

  /**
   * Before a file is written: a generated one is taken over whole, and a ctime ahead of our clock, of an image or of a
   * time at which our clock was wrong, is set back. Unstable writes take the later of their time and the record's.
   */
  #takeUp({ id, ctimeNs }: VolumeAttributes, nowNs: bigint): Promise<void> | undefined {
    const isAhead = ctimeNs > nowNs;
    if (!isAhead && this.#layer.generatedPlace(id) === undefined) return undefined;
    const change = this.#layer.begin();
    const { attributes } = change.inode(id);
    if (isAhead) attributes.ctimeNs = nowNs;
    return change.commit();
  }

  commit(id: number): Awaitable<void> {
    return refusing(() => {
      this.getattr(id);
      const { contents, lateChanges, shared } = this.#layer;
      // Also what was done to the file before is durable then: writes keep their order. A flush that was under way may be older.
      const settle = () => (lateChanges.isEmpty ? undefined : shared.store.write([]));
      return contents.isUnstable(id) ? contents.flush(id).then(settle) : settle();
    });
  }

  setattr(
    id: number,
    changes: AttributeChanges,
    guardCtimeNs?: bigint,
    call?: CallIdentity,
  ): Awaitable<VolumeAttributes> {
    return refusing(() => {
      const { contents, doneCalls } = this.#layer;
      const known = this.getattr(id);
      if (doneCalls.find(call) !== undefined) return known;
      if (changes.sizeBytes !== undefined) this.#checkFile(id);
      if ((changes.sizeBytes ?? 0) > FILE_BYTES_MAX) throw new VolumeError("NFS3ERR_FBIG");
      const hasContents = changes.sizeBytes !== undefined || contents.isBusy(id) || contents.isUnstable(id);
      const change = () => this.#setattr(id, changes, guardCtimeNs, call);
      return hasContents ? contents.inOrder(id, change) : change();
    });
  }

  async #setattr(
    id: number,
    changes: AttributeChanges,
    guardCtimeNs?: bigint,
    call?: CallIdentity,
  ): Promise<VolumeAttributes> {
    const { contents } = this.#layer;
    const known = this.getattr(id);
    if (guardCtimeNs !== undefined && guardCtimeNs !== known.ctimeNs) throw new VolumeError("NFS3ERR_NOT_SYNC");
    if (changes.sizeBytes !== undefined && changes.sizeBytes > known.sizeBytes) {
      await this.#takeUp(known, this.nowNs());
      await contents.grow(id, changes.sizeBytes, this.nowNs());
    }
    // A record must not tell of data before they are durable.
    while (contents.isUnstable(id)) await contents.flush(id);
    this.getattr(id);
    const change = this.#layer.begin();
    const inode = change.inode(id);
    const nowNs = this.nowNs();
    const { attributes } = inode;
    // A guarded call is to be known again after a restart.
    const isTouch = guardCtimeNs === undefined && setsNothingNew(attributes, changes);
    let cutDataFile = async () => {};
    if (changes.sizeBytes !== undefined) {
      if (changes.sizeBytes < attributes.sizeBytes) cutDataFile = contents.cut(id, inode, changes.sizeBytes);
      attributes.mtimeNs = nowNs;
    }
    if (changes.mode !== undefined) attributes.mode = changes.mode & 0o7777;
    if (changes.uid !== undefined) attributes.uid = changes.uid;
    if (changes.gid !== undefined) attributes.gid = changes.gid;
    if (changes.atime !== undefined) attributes.atimeNs = changes.atime === "server" ? nowNs : changes.atime;
    if (changes.mtime !== undefined) attributes.mtimeNs = changes.mtime === "server" ? nowNs : changes.mtime;
    attributes.ctimeNs = nowNs;
    // A data file is cut, and written anew, only when the record that still wants its old contents is gone for good.
    const stored = change.by(call, id).commit({ isPromised: changes.sizeBytes !== undefined, isTouch });
    const answer = this.getattr(id);
    await stored;
    await cutDataFile();
    return answer;
  }

  readdir(directoryId: number, cookie: number, limit: number) {
    names.checkDirectory(this.#layer, directoryId);
    return listFrom(this.#layer, directoryId, cookie, limit);
  }

  statfs(): VolumeSpace {
    const { totalBytes, freeBytes } = this.#space();
    // Ids are the only bound on the number of files.
    const totalFiles = 2 ** 32 - 1;
    return { totalBytes, freeBytes, availableBytes: freeBytes, totalFiles, freeFiles: totalFiles - 2 ** 24 };
  }

  #space(): { totalBytes: number; freeBytes: number } {
    const { account, shared } = this.#layer;
    const disk = shared.files.dataFiles.space();
    const { quotaBytes } = account.rules;
    if (quotaBytes === undefined) return disk;
    return { totalBytes: quotaBytes, freeBytes: Math.max(0, Math.min(quotaBytes - account.usedBytes, disk.freeBytes)) };
  }

  /** The file at a path, through symlinks; `undefined` when there is none. */
  lookupPath(path: string): number | undefined {
    return lookupPath(this.#layer, path);
  }

  /** A plain file by path, for TFTP: its id and size; `undefined` when there is none. */
  fileByPath(path: string): { id: number; sizeBytes: number } | undefined {
    const id = this.lookupPath(path);
    const attributes = id === undefined ? undefined : this.#layer.attributes(id);
    return id !== undefined && attributes?.type === "file" ? { id, sizeBytes: attributes.sizeBytes } : undefined;
  }

  /** Fills `target` from `offset` of a plain file; returns how many bytes there were, fewer only at its end. */
  readSync(id: number, target: Uint8Array, offset: number): number {
    return this.#layer.readSync(id, target, offset);
  }

  /** Paths of the generated layer at which the node's own changes stand instead. */
  overriddenGeneratedPaths(): string[] {
    const layer = this.#layer;
    return this.#generated.placements
      .filter(({ kind, directoryId, name, id }) => {
        const shown = layer.lookup(directoryId, name)?.id;
        if (kind === "removed") return shown !== undefined;
        return shown !== id || (kind !== "directory" && layer.isWritten(id));
      })
      .map(({ path }) => path);
  }

  /** Bytes of contents that the node itself has stored. */
  usedBytes(): number {
    return this.#layer.usage.contentBytes + this.#layer.contents.unstableGrowthBytes();
  }

  /** Makes all unstable writes durable. */
  flush(): Promise<void> {
    return this.#layer.contents.flushAll();
  }
}

/**
 * A client that unpacks an archive sets owner and mode of each file to what they are: half of its SETATTRs. Only ctime
 * is new then. Should the power go within a second, it is what it was before, of a file that has not changed since.
 */
function setsNothingNew(
  { mode, uid, gid }: Pick<VolumeAttributes, "mode" | "uid" | "gid">,
  wanted: AttributeChanges,
): boolean {
  return (
    (wanted.sizeBytes ?? wanted.atime ?? wanted.mtime) === undefined &&
    (wanted.mode ?? mode) === mode &&
    (wanted.uid ?? uid) === uid &&
    (wanted.gid ?? gid) === gid
  );
}
