/**
 * The contents of a node layer's files. An unstable write puts data into the data file at once and keeps what it
 * means for the record in memory; `flush` makes the data durable and only then the record.
 */
import { INLINE_CONTENT_BYTES_MAX } from "../limits.ts";
import type { DataFile, Timer } from "../ports.ts";
import {
  blocksAround,
  type FileData,
  narrowGaps,
  RANGES_MAX,
  segmentsOf,
  storedBytes,
  truncated,
  withRange,
} from "./file-data.ts";
import { copyFrom } from "./generated-layer.ts";
import type { NodeLayer } from "./node-layer.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";

/** As Linux does for its own page cache (`dirty_writeback_centisecs`). */
const FLUSH_DELAY_MS = 5000;

const COPY_BYTES = 1024 * 1024;

/** A file's state after unstable writes. Replaced, never changed, so that a flush can tell whether it is the newest. */
interface Unstable {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly data: FileData;
}

export class NodeContents {
  readonly #layer: NodeLayer;
  readonly #unstable = new Map<number, Unstable>();
  readonly #flushes = new Map<number, Promise<void>>();
  /** Files cut in their record, whose data files are still longer. */
  readonly #uncut = new Set<number>();
  #timer: Timer | undefined;

  constructor(layer: NodeLayer) {
    this.#layer = layer;
  }

  #name(id: number): string {
    return `${this.#layer.layerId.toString(16)}/${id.toString(16)}`;
  }

  /** The record with what unstable writes did to it. */
  withUnstable(id: number, record: InodeOverride | undefined): InodeOverride | undefined {
    const unstable = this.#unstable.size === 0 ? undefined : this.#unstable.get(id);
    const base = unstable === undefined ? record : (record ?? this.#layer.takenUp(id));
    return unstable === undefined || base === undefined ? record : merged(base, unstable);
  }

  /** True while the record lags behind, or is being brought up to date. */
  isUnstable(id: number): boolean {
    return this.#unstable.has(id) || this.#flushes.has(id);
  }

  /** Writes without promising anything. The file must be a plain one, taken up whole if it is generated. */
  write(id: number, bytes: Uint8Array, offset: number, nowNs: bigint): void {
    const inode = this.#current(id);
    const { sizeBytes } = inode.attributes;
    const newSizeBytes = Math.max(sizeBytes, offset + bytes.length);
    const data = this.#contentAsInline(id, inode);
    if (data.inline !== undefined && newSizeBytes <= INLINE_CONTENT_BYTES_MAX) {
      const inline = new Uint8Array(newSizeBytes);
      inline.set(data.inline);
      inline.set(bytes, offset);
      this.#keep(id, { sizeBytes: newSizeBytes, mtimeNs: nowNs, data: { ...data, inline } });
      return;
    }
    const written = this.#withFile(id, sizeBytes, (file) => this.#writeBlocks(id, file, data, bytes, offset));
    this.#keep(id, { sizeBytes: newSizeBytes, mtimeNs: nowNs, data: written });
  }

  /** The file grows to `sizeBytes`, with zeros. As unstable as a write. */
  grow(id: number, sizeBytes: number, nowNs: bigint): void {
    this.write(id, new Uint8Array(0), sizeBytes, nowNs);
  }

  #current(id: number): InodeOverride {
    const override = this.#layer.override(id) ?? this.#layer.takenUp(id);
    if (override === undefined || override === REMOVED) throw new Error(`Cannot write file ${id}: it does not exist`);
    return override;
  }

  /** A small file of the layer below is read whole: a record is cheaper than a data file. */
  #contentAsInline(id: number, inode: InodeOverride): FileData {
    const data = inode.data!;
    const { sizeBytes } = inode.attributes;
    if (data.inheritedBytes !== sizeBytes || sizeBytes > INLINE_CONTENT_BYTES_MAX || data.ranges.length > 0)
      return data;
    if (data.inline !== undefined || sizeBytes === 0) return data;
    const inline = new Uint8Array(sizeBytes);
    this.#layer.inherited.readSync(id, inline, 0);
    return { inheritedBytes: 0, ranges: [], inline };
  }

  #writeBlocks(id: number, file: DataFile, data: FileData, bytes: Uint8Array, offset: number): FileData {
    if (data.inline !== undefined) {
      // What the data file holds is from before the content was inline.
      file.truncateSync(0);
      file.writeSync(data.inline, 0);
      file.writeSync(bytes, offset);
      return { inheritedBytes: 0, ranges: [], inline: undefined };
    }
    const end = offset + bytes.length;
    const blocks = blocksAround(data, offset, end);
    this.#copyUp(id, file, data, blocks.start, offset);
    this.#copyUp(id, file, data, end, blocks.end);
    file.writeSync(bytes, offset);
    const written = withRange(data, blocks.start, blocks.end);
    if (written.ranges.length <= 2 * RANGES_MAX) return written;
    const { gaps, closed } = narrowGaps(written);
    for (const gap of gaps) this.#copyUp(id, file, written, gap.start, gap.end);
    return closed;
  }

  #copyUp(id: number, file: DataFile, data: FileData, start: number, end: number): void {
    if (start >= end) return;
    for (const segment of segmentsOf(data, start, end)) {
      if (segment.from === "layer") continue;
      for (let at = segment.start; at < segment.end; at += COPY_BYTES) {
        const bytes = new Uint8Array(Math.min(COPY_BYTES, segment.end - at));
        this.#layer.inherited.readSync(id, bytes, at);
        file.writeSync(bytes, at);
      }
    }
  }

  #withFile(id: number, sizeBytes: number, run: (file: DataFile) => FileData): FileData {
    return this.#use(id, sizeBytes, (file) => {
      if (this.#uncut.delete(id)) file.truncateSync(sizeBytes);
      return run(file);
    }) as FileData;
  }

  #use<T>(id: number, sizeBytes: number, run: (file: DataFile) => T | Promise<T>): T | Promise<T> {
    // After a crash a data file may be longer than its record says: unstable writes that nobody was promised.
    const cutRest = (file: DataFile) => {
      if (!this.#uncut.has(id)) file.truncateSync(sizeBytes);
    };
    return this.#layer.shared.files.use(this.#name(id), cutRest, run);
  }

  #keep(id: number, unstable: Unstable): void {
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

  async flushAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#unstable.keys()].map((id) => this.flush(id)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** Resolves when everything written to the file before is durable. */
  async flush(id: number): Promise<void> {
    const running = this.#flushes.get(id);
    if (running !== undefined) await running;
    if (this.#flushes.has(id)) return this.flush(id);
    if (!this.#unstable.has(id)) return;
    const flush = this.#flushNow(id).finally(() => this.#flushes.delete(id));
    this.#flushes.set(id, flush);
    await flush;
  }

  async #flushNow(id: number): Promise<void> {
    const unstable = this.#unstable.get(id)!;
    if (unstable.data.inline === undefined) await this.#use(id, unstable.sizeBytes, (file) => file.sync());
    // Removed, or undone, meanwhile.
    if (!this.#unstable.has(id)) return;
    const change = this.#layer.begin();
    const inode = change.inode(id);
    Object.assign(inode, merged(inode, unstable));
    if (this.#unstable.get(id) === unstable) this.#unstable.delete(id);
    try {
      await change.commit();
    } catch (error) {
      if (!this.#unstable.has(id) && this.#layer.takenUp(id) !== undefined) this.#keep(id, unstable);
      throw error;
    }
  }

  /** Cuts a file that has no unstable writes; the returned work is due once the record is durable. */
  cut(id: number, inode: InodeOverride, sizeBytes: number): () => void {
    const before = inode.data!;
    if (before.inline === undefined && storedBytes(before, inode.attributes.sizeBytes) > 0) this.#uncut.add(id);
    inode.data = truncated(before, sizeBytes);
    inode.attributes.sizeBytes = sizeBytes;
    inode.attributes.usedBytes = Math.ceil(sizeBytes / 512) * 512;
    return () => {
      if (!this.#uncut.has(id)) return;
      const { data, attributes } = this.#current(id);
      if (data?.inline === undefined) this.#withFile(id, attributes.sizeBytes, () => data!);
      else this.removeFile(id);
      this.#uncut.delete(id);
    };
  }

  /** The file is gone for everybody. */
  drop(id: number): void {
    this.#unstable.delete(id);
    this.#uncut.delete(id);
  }

  removeFile(id: number): void {
    this.#layer.shared.files.remove(this.#name(id));
  }

  /** Data files of removed files, left by a crash. */
  removeOrphans(ids: ReadonlySet<number>): void {
    const { files } = this.#layer.shared;
    for (const name of files.dataFiles.list(this.#layer.layerId.toString(16))) {
      const id = Number.parseInt(name, 16);
      if (!ids.has(id) && !this.#unstable.has(id)) this.removeFile(id);
    }
  }

  /** After the store undid writes: unstable writes to files that are not there any more. */
  forgetLost(): void {
    for (const id of this.#unstable.keys()) {
      const file = this.#layer.takenUp(id);
      if (file === undefined || this.#layer.generatedPlace(id) !== undefined) this.drop(id);
    }
  }

  /** The layer goes away: what nobody was promised is not kept. Returns the way back, should the layer stay. */
  abandon(): () => void {
    const abandoned = [...this.#unstable];
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#unstable.clear();
    return () => {
      for (const [id, unstable] of abandoned) this.#keep(id, unstable);
    };
  }

  async close(): Promise<void> {
    try {
      await this.flushAll();
    } finally {
      this.abandon();
    }
  }

  readSync(id: number, inode: InodeOverride, target: Uint8Array, offset: number): number {
    const wanted = within(inode, target, offset);
    const { data } = inode;
    if (data?.inline !== undefined) return copyFrom(data.inline, wanted, offset);
    for (const { from, start, end } of segmentsOf(data!, offset, offset + wanted.length)) {
      const part = wanted.subarray(start - offset, end - offset);
      const sizeBytes = inode.attributes.sizeBytes;
      const count =
        from === "below"
          ? this.#layer.inherited.readSync(id, part, start)
          : (this.#use(id, sizeBytes, (file) => file.readSync(part, start)) as number);
      part.fill(0, count);
    }
    return wanted.length;
  }

  read(id: number, inode: InodeOverride, target: Uint8Array, offset: number): number | Promise<number> {
    const wanted = within(inode, target, offset);
    const { data } = inode;
    if (data?.inline !== undefined) return copyFrom(data.inline, wanted, offset);
    const reads = segmentsOf(data!, offset, offset + wanted.length).map(async ({ from, start, end }) => {
      const part = wanted.subarray(start - offset, end - offset);
      const sizeBytes = inode.attributes.sizeBytes;
      const count =
        from === "below"
          ? await this.#layer.inherited.read(id, part, start)
          : await this.#use(id, sizeBytes, (file) => file.read(part, start));
      part.fill(0, count);
    });
    return Promise.all(reads).then(() => wanted.length);
  }
}

/** The part of `target` that the file reaches. */
function within(inode: InodeOverride, target: Uint8Array, offset: number): Uint8Array {
  const left = Math.max(0, inode.attributes.sizeBytes - offset);
  return target.subarray(0, Math.min(target.length, left));
}

function merged(inode: InodeOverride, { sizeBytes, mtimeNs, data }: Unstable): InodeOverride {
  const usedBytes = Math.ceil(sizeBytes / 512) * 512;
  const ctimeNs = mtimeNs > inode.attributes.ctimeNs ? mtimeNs : inode.attributes.ctimeNs;
  return { ...inode, attributes: { ...inode.attributes, sizeBytes, usedBytes, mtimeNs, ctimeNs }, data };
}
