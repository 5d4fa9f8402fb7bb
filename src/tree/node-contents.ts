/**
 * The contents of a node layer's files. An unstable write puts data into the data file and keeps what it means for
 * the record in memory; `flush` makes the data durable and only then the record.
 *
 * Nothing here waits for a disk on the event loop: what changes contents is done in the order of its calls, file by
 * file (`ContentQueues`). Small contents, which live in records, are changed at once.
 */
import { occupiedBytes } from "../disk/file-system-image.ts";
import { INLINE_CONTENT_BYTES_MAX } from "../limits.ts";
import { VolumeError } from "../nfs/volume.ts";
import { SharedRounds } from "../order/shared-rounds.ts";
import type { Awaitable, Timer } from "../ports.ts";
import { ContentQueues, type PlacedWrite } from "./content-queues.ts";
import { DataFileWriter } from "./data-file-writer.ts";
import { type FileData, growthOf, hasDataFile, truncated } from "./file-data.ts";
import type { NodeLayer } from "./node-layer.ts";
import { dataFileName, dataFolder } from "./open-data-files.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";
import { merged, type UnstableFile, UnstableFiles } from "./unstable-files.ts";

/** As Linux does for its own page cache (`dirty_writeback_centisecs`). */
const FLUSH_DELAY_MS = 5000;

/** Data files that are made durable at a time when nobody waits: they must not keep others from the disk. */
const FLUSHES_AT_ONCE = 4;

export class NodeContents {
  readonly #layer: NodeLayer;
  readonly #unstable = new UnstableFiles();
  readonly #flushes = new SharedRounds<number>((id) => this.#flushNow(id));
  readonly #queues = new ContentQueues((id, writes) => this.#apply(id, writes));
  readonly #writer: DataFileWriter;
  /** How often unstable data of a file were lost: a write must not build on them. */
  readonly #losses = new Map<number, number>();
  #isAbandoned = false;
  #timer: Timer | undefined;

  constructor(layer: NodeLayer) {
    this.#layer = layer;
    this.#writer = new DataFileWriter(layer);
  }

  #name(id: number): string {
    return dataFileName(this.#layer.layerId, id);
  }

  /** The record with what unstable writes did to it. */
  withUnstable(id: number, record: InodeOverride | undefined): InodeOverride | undefined {
    const unstable = this.#unstable.size === 0 ? undefined : this.#unstable.get(id);
    const base = unstable === undefined ? record : (record ?? this.#layer.takenUp(id));
    return unstable === undefined || base === undefined ? record : merged(base, unstable);
  }

  /** True while the record lags behind, or is being brought up to date. */
  isUnstable(id: number): boolean {
    return this.#unstable.has(id) || this.#flushes.isRunning(id);
  }

  /** True while something is done to the contents, or waits for its turn. */
  isBusy(id: number): boolean {
    return this.#queues.isBusy(id);
  }

  /** What unstable writes store, at most. */
  get unstableStoredBytes(): number {
    return this.#unstable.storedBytes;
  }

  /** What they store more than the records of their files. Looks at all of them. */
  unstableGrowthBytes(): number {
    return this.#unstable.growthBytes((id) => this.#layer.record(id));
  }

  /** Does `work` when all before it is done, and before anything after it begins. */
  inOrder<T>(id: number, work: () => Promise<T>): Promise<T> {
    return this.#queues.run(id, work);
  }

  /**
   * Writes without promising anything: shown when it is answered, and not touched again by `bytes`. The file must be a
   * plain one, taken up whole if it is generated.
   */
  write(id: number, bytes: Uint8Array, offset: number, timeNs: bigint): Awaitable<void> {
    if (!this.isBusy(id) && this.#writeInline(id, bytes, offset, timeNs)) return undefined;
    return this.#queues.write(id, { bytes, offset, timeNs });
  }

  /** The file grows to `sizeBytes`, with zeros. As unstable as a write. Only from work that is `inOrder`. */
  grow(id: number, sizeBytes: number, timeNs: bigint): Promise<void> {
    return this.#apply(id, [{ bytes: new Uint8Array(0), offset: sizeBytes, timeNs }]);
  }

  #current(id: number): InodeOverride {
    const override = this.#isAbandoned ? undefined : (this.#layer.override(id) ?? this.#layer.takenUp(id));
    if (override === undefined || override === REMOVED) throw new VolumeError("NFS3ERR_STALE");
    return override;
  }

  /** False when the content is not, or will not be, small enough for the record. */
  #writeInline(id: number, bytes: Uint8Array, offset: number, mtimeNs: bigint): boolean {
    const { attributes, data } = this.#current(id);
    const sizeBytes = Math.max(attributes.sizeBytes, offset + bytes.length);
    if (data?.inline === undefined || sizeBytes > INLINE_CONTENT_BYTES_MAX) return false;
    this.#layer.account.demand(sizeBytes - data.inline.length);
    const inline = new Uint8Array(sizeBytes);
    inline.set(data.inline);
    inline.set(bytes, offset);
    this.#keep(id, { sizeBytes, mtimeNs, data: { ...data, inline } });
    return true;
  }

  async #apply(id: number, writes: readonly PlacedWrite[]): Promise<void> {
    const losses = this.#losses.get(id);
    const inode = this.#current(id);
    const { offset } = writes[0]!;
    const last = writes.at(-1)!;
    const end = last.offset + last.bytes.length;
    const sizeBytes = Math.max(inode.attributes.sizeBytes, end);
    this.#layer.account.demand(growthOf(inode.data!, inode.attributes.sizeBytes, offset, end));
    const before = await this.#contentAsInline(id, inode);
    try {
      let data: FileData;
      if (before.inline !== undefined && sizeBytes <= INLINE_CONTENT_BYTES_MAX) {
        data = { ...before, inline: withWrites(before.inline, writes, sizeBytes) };
      } else {
        const parts = writes.map(({ bytes }) => bytes);
        data = await this.#layer.shared.files.use(this.#name(id), { make: true }, (open) =>
          this.#writer.write(open, { id, sizeBytes: inode.attributes.sizeBytes, data: before }, parts, offset, end),
        );
      }
      // Removed, abandoned or lost meanwhile.
      this.#current(id);
      if (this.#losses.get(id) !== losses) throw new VolumeError("NFS3ERR_IO");
      this.#keep(id, { sizeBytes, mtimeNs: last.timeNs, data });
    } catch (error) {
      // What has come into the data file all the same is not the file's.
      this.#layer.shared.files.untrim(this.#name(id));
      throw error;
    }
  }

  /** A small file of the layer below is read whole: a record is cheaper than a data file. */
  async #contentAsInline(id: number, inode: InodeOverride): Promise<FileData> {
    const data = inode.data!;
    const { sizeBytes } = inode.attributes;
    if (data.inline !== undefined || sizeBytes === 0 || sizeBytes > INLINE_CONTENT_BYTES_MAX) return data;
    if (data.inheritedBytes !== sizeBytes || data.ranges.length > 0) return data;
    const inline = new Uint8Array(sizeBytes);
    await this.#layer.inherited.read(id, inline, 0);
    return { inheritedBytes: 0, ranges: [], inline };
  }

  #keep(id: number, unstable: UnstableFile): void {
    this.#unstable.set(id, unstable);
    this.#timer ??= this.#layer.shared.clock.after(FLUSH_DELAY_MS, () => {
      this.#timer = undefined;
      // A failure is told to whoever commits the file; until then it is tried again.
      this.flushAll().catch(() => this.#retryLater());
    });
  }

  #retryLater(): void {
    const [id, unstable] = this.#unstable.entries().next().value ?? [];
    if (id !== undefined && unstable !== undefined) this.#keep(id, unstable);
  }

  /** Resolves when everything written before is durable. */
  async flushAll(): Promise<void> {
    const files = [...this.#unstable.entries()].filter(([, { data }]) => data.inline === undefined).map(([id]) => id);
    const isFile = new Set(files);
    const records = Array.from(this.#unstable.entries(), ([id]) => id).filter((id) => !isFile.has(id));
    const failures: unknown[] = [];
    const flush = (id: number) => this.flush(id).catch((error: unknown) => failures.push(error));
    const flushNext = async () => {
      for (let id = files.pop(); id !== undefined; id = files.pop()) await flush(id);
    };
    // Records share one commit.
    await Promise.all([...records.map(flush), ...Array.from({ length: FLUSHES_AT_ONCE }, flushNext)]);
    if (failures.length > 0) throw failures[0];
  }

  /** Resolves when everything written to the file before is durable. */
  async flush(id: number): Promise<void> {
    if (this.isUnstable(id)) await this.#flushes.run(id);
  }

  async #flushNow(id: number): Promise<void> {
    const unstable = this.#unstable.get(id);
    if (unstable === undefined) return;
    if (unstable.data.inline === undefined) await this.#sync(id);
    if (this.#isAbandoned) throw new VolumeError("NFS3ERR_STALE");
    // Removed meanwhile.
    if (!this.#unstable.has(id)) return;
    if (this.#layer.takenUp(id) === undefined) throw new VolumeError("NFS3ERR_STALE");
    const change = this.#layer.begin();
    const inode = change.inode(id);
    Object.assign(inode, merged(inode, unstable));
    if (this.#unstable.get(id) === unstable) this.#unstable.delete(id);
    try {
      await change.commit({ isPromised: true });
    } catch (error) {
      if (!this.#unstable.has(id) && this.#layer.takenUp(id) !== undefined) this.#keep(id, unstable);
      throw error;
    }
  }

  async #sync(id: number): Promise<void> {
    const { files } = this.#layer.shared;
    await files.use(this.#name(id), { make: false }, async ({ file }) => {
      try {
        await file.sync();
      } catch (error) {
        if (this.#unstable.has(id)) this.#lose(id);
        throw error;
      }
    });
  }

  /** The system has given up unstable data, and will not tell a second time: nobody may be promised them. */
  #lose(id: number): void {
    this.#unstable.delete(id);
    this.#losses.set(id, (this.#losses.get(id) ?? 0) + 1);
    this.#layer.shared.files.untrim(this.#name(id));
    this.#layer.shared.files.lossCount += 1;
  }

  /**
   * Cuts a file that has no unstable writes; the returned work is due once the record is durable. Both only from work
   * that is `inOrder`.
   */
  cut(id: number, inode: InodeOverride, sizeBytes: number): () => Promise<void> {
    const before = inode.data!;
    const hadDataFile = hasDataFile(before, inode.attributes.sizeBytes);
    const after = truncated(before, sizeBytes);
    inode.data = after;
    inode.attributes.sizeBytes = sizeBytes;
    inode.attributes.usedBytes = occupiedBytes(sizeBytes);
    return async () => {
      if (!hadDataFile) return;
      const { files } = this.#layer.shared;
      const name = this.#name(id);
      files.untrim(name);
      try {
        if (after.inline !== undefined) await files.remove(name);
        else await files.use(name, { make: false }, (open) => this.#writer.trim(open, sizeBytes));
      } catch {
        // The file is cut all the same: what is left over is cut off before the next write.
      }
    };
  }

  /** The file is gone for everybody, and durably so. Its data file goes when nothing is written to it any more. */
  async removed(id: number, hadDataFile: boolean): Promise<void> {
    const unstable = this.#unstable.get(id);
    const isInFile = unstable !== undefined && unstable.data.inline === undefined;
    this.#unstable.delete(id);
    if (hadDataFile || isInFile || this.isBusy(id)) await this.#removeFile(id);
  }

  /** What cannot be removed now is found at the next start. */
  #removeFile(id: number): Promise<void> {
    return this.inOrder(id, () => this.#layer.shared.files.remove(this.#name(id))).catch(() => {});
  }

  /** Data files of removed files, left by a crash. */
  removeOrphans(ids: ReadonlySet<number>): void {
    const { files } = this.#layer.shared;
    for (const name of files.dataFiles.list(dataFolder(this.#layer.layerId))) {
      const id = Number.parseInt(name, 16);
      if (!ids.has(id) && !this.#unstable.has(id)) void this.#removeFile(id);
    }
  }

  /** After the store undid writes: unstable writes to files that are not there any more. */
  forgetLost(): void {
    for (const [id] of this.#unstable.entries()) {
      const file = this.#layer.takenUp(id);
      if (file !== undefined && this.#layer.generatedPlace(id) === undefined) continue;
      this.#unstable.delete(id);
      this.#layer.shared.files.untrim(this.#name(id));
    }
  }

  /** The layer goes away: what nobody was promised is not kept. Returns the way back, should the layer stay. */
  abandon(): () => void {
    const abandoned = [...this.#unstable.entries()];
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#unstable.clear();
    this.#isAbandoned = true;
    return () => {
      this.#isAbandoned = false;
      for (const [id, unstable] of abandoned) this.#keep(id, unstable);
    };
  }

  /** Resolves when nothing is under way any more. New calls must have ended before. */
  async settle(): Promise<void> {
    await this.#queues.idle();
    await this.#flushes.idle();
  }

  async close(): Promise<void> {
    try {
      await this.#queues.idle();
      await this.flushAll();
    } finally {
      this.abandon();
    }
  }
}

function withWrites(content: Uint8Array, writes: readonly PlacedWrite[], sizeBytes: number): Uint8Array {
  const inline = new Uint8Array(sizeBytes);
  inline.set(content);
  for (const { bytes, offset } of writes) inline.set(bytes, offset);
  return inline;
}
