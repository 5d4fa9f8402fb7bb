/**
 * The key-value port on LMDB (npm `lmdb`). One writer: this process. Writes in flight are shown at once from
 * memory and committed together, so that many operations share one fsync.
 */
import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { KEY_BYTES_MAX, LATE_COMMIT_BYTES_MAX } from "../limits.ts";
import type { KeyValueStore, Mutation, WriteTiming } from "../ports.ts";
import { COMMIT_MARGIN_BYTES, checkRoom } from "./disk-room.ts";
import { makeDatabase } from "./new-database.ts";

const PAGE_BYTES = 4096;
const MAP_BYTES = 64 * 2 ** 30;

type Entry = { key: Uint8Array; value: Uint8Array };

/** What unfinished writes make of one key; the newest of them, counted by `writers`. */
interface PendingKey {
  key: Uint8Array;
  value: Uint8Array | undefined;
  writers: number;
}

interface QueuedWrite {
  changes: { key: Uint8Array; value: Uint8Array | undefined }[];
  resolve: () => void;
  reject: (error: Error) => void;
}

const OPTIONS = {
  keyEncoding: "binary",
  encoding: "binary",
  // A commit then includes its fsync: its promise means durable, and not just visible.
  overlappingSync: false,
  cache: false,
  // The queue below does that; lmdb's own leaves a promise of it behind that nobody can catch when the disk is full.
  eventTurnBatching: false,
  maxDbs: 1,
  // Several processes have it open. A map that grows would have to be remapped in all of them; this one is only addresses.
  mapSize: MAP_BYTES,
} as const;

/** Opens (or makes) the database in `folder`. Throws the operating system's error. */
export function openLmdbStore(folder: string): KeyValueStore {
  mkdirSync(folder, { recursive: true });
  makeDatabase(folder, OPTIONS);
  return new LmdbStore(open<Uint8Array, Uint8Array>(folder, OPTIONS), folder);
}

class LmdbStore implements KeyValueStore {
  readonly #database: RootDatabase<Uint8Array, Uint8Array>;
  readonly #folder: string;
  readonly #pending = new Map<string, PendingKey>();
  #queue: QueuedWrite[] = [];
  #queuedBytes = 0;
  /** Something in the queue may not wait. */
  #isUrgent = false;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #committing: Promise<void> | undefined;

  constructor(database: RootDatabase<Uint8Array, Uint8Array>, folder: string) {
    this.#database = database;
    this.#folder = folder;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const pending = this.#pending.get(textOf(key));
    return pending === undefined ? this.#database.get(key) : pending.value;
  }

  *range(from: Uint8Array, to: Uint8Array): Generator<Entry> {
    const pending = this.#pendingBetween(from, to);
    let next = 0;
    for (const { key, value } of this.#database.getRange({ start: from, end: to })) {
      while (next < pending.length && Buffer.compare(pending[next]!.key, key) < 0) yield* shown(pending[next++]!);
      if (next < pending.length && Buffer.compare(pending[next]!.key, key) === 0) yield* shown(pending[next++]!);
      else yield { key, value };
    }
    while (next < pending.length) yield* shown(pending[next++]!);
  }

  #pendingBetween(from: Uint8Array, to: Uint8Array): PendingKey[] {
    return [...this.#pending.values()]
      .filter(({ key }) => Buffer.compare(key, from) >= 0 && Buffer.compare(key, to) < 0)
      .sort((one, other) => Buffer.compare(one.key, other.key));
  }

  write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void> {
    const changes: QueuedWrite["changes"] = [];
    for (const mutation of mutations) {
      for (const change of this.#expand(mutation)) {
        changes.push(change);
        this.#show(change.key, change.value);
        this.#queuedBytes += change.key.length + (change.value?.length ?? 0);
      }
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ changes, resolve, reject });
      if (timing === undefined || this.#queuedBytes > LATE_COMMIT_BYTES_MAX) this.#isUrgent = true;
      if (this.#isUrgent) this.#committing ??= this.#commitQueue();
      else this.#commitWithin(timing!.withinMs);
    });
  }

  /** Unless something that may not wait takes the queue with it before. */
  #commitWithin(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isUrgent = this.#queue.length > 0;
      if (this.#isUrgent) this.#committing ??= this.#commitQueue();
    }, delayMs);
  }

  /** A range is the keys it has now: later writes come after this one, so no other can be meant. */
  #expand(mutation: Mutation): QueuedWrite["changes"] {
    if ("put" in mutation) return [{ key: checkedKey(mutation.put), value: new Uint8Array(mutation.value) }];
    if ("remove" in mutation) return [{ key: checkedKey(mutation.remove), value: undefined }];
    const { from, to } = mutation.removeRange;
    return Array.from(this.range(from, to), ({ key }) => ({ key, value: undefined }));
  }

  #show(key: Uint8Array, value: Uint8Array | undefined): void {
    const text = textOf(key);
    const pending = this.#pending.get(text);
    if (pending === undefined) this.#pending.set(text, { key, value, writers: 1 });
    else {
      pending.value = value;
      pending.writers += 1;
    }
  }

  /** Commits what is queued, then what was queued meanwhile, until nothing is left. */
  async #commitQueue(): Promise<void> {
    // Whatever else is called in this turn shares the first commit.
    await Promise.resolve();
    while (this.#isUrgent) {
      const batch = this.#queue;
      this.#queue = [];
      this.#queuedBytes = 0;
      this.#isUrgent = false;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      try {
        await this.#commit(batch);
      } catch (error) {
        const reason = await commitFailure(error);
        this.#undo([...batch, ...this.#queue], reason);
        continue;
      }
      for (const write of batch) {
        for (const { key } of write.changes) this.#forget(key);
        write.resolve();
      }
    }
    this.#committing = undefined;
  }

  async #commit(batch: readonly QueuedWrite[]): Promise<void> {
    const changes = batch.flatMap((write) => write.changes);
    if (changes.length === 0) return;
    this.#checkRoom(changes);
    await this.#database.batch(() => {
      for (const { key, value } of changes) {
        // Inside a batch these answer with the batch's own promise.
        void (value === undefined ? this.#database.remove(key) : this.#database.put(key, value));
      }
    });
  }

  /** LMDB copies every page it changes: at worst two for a key, and never more than it has. */
  #checkRoom(changes: QueuedWrite["changes"]): void {
    // A file system that has become read-only would do the same harm as a full one (`disk-room.ts`).
    accessSync(this.#folder, constants.W_OK);
    const valueBytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    const databaseBytes = statSync(join(this.#folder, "data.mdb")).size;
    const pageBytes = Math.min(changes.length * 2 * PAGE_BYTES, databaseBytes);
    checkRoom(this.#folder, 2 * valueBytes + pageBytes, COMMIT_MARGIN_BYTES);
  }

  #undo(writes: readonly QueuedWrite[], error: Error): void {
    this.#pending.clear();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#isUrgent = false;
    for (const write of writes) write.reject(error);
  }

  #forget(key: Uint8Array): void {
    const text = textOf(key);
    const pending = this.#pending.get(text);
    if (pending !== undefined && --pending.writers === 0) this.#pending.delete(text);
  }

  /** lmdb reads all in one transaction until a timer ends it, and that shows one moment of the database. */
  catchUp(): void {
    this.#database.resetReadTxn();
  }

  async close(): Promise<void> {
    try {
      await this.write([]);
    } finally {
      clearTimeout(this.#timer);
      await this.#database.close();
    }
  }
}

function* shown({ key, value }: PendingKey): Generator<Entry> {
  if (value !== undefined) yield { key, value };
}

function checkedKey(key: Uint8Array): Uint8Array {
  if (key.length === 0 || key.length > KEY_BYTES_MAX) {
    throw new RangeError(`Cannot store a key of ${key.length} bytes: expected 1 to ${KEY_BYTES_MAX}`);
  }
  return new Uint8Array(key);
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

/** lmdb rejects with "Commit failed"; the reason is in a promise beside it. */
async function commitFailure(error: unknown): Promise<Error> {
  const detail = (error as { commitError?: Promise<never> }).commitError;
  return Promise.resolve(detail).then(
    () => (error instanceof Error ? error : new Error(String(error))),
    (reason: Error) => reason,
  );
}
