/**
 * The key-value port on LMDB (npm `lmdb`). Writes in flight are shown at once from memory and committed together, so that
 * many operations share one commit. Several processes may have it open; LMDB lets one of them write at a time.
 */
import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import type { KeyValueStore, Mutation, WriteTiming } from "../ports.ts";
import { systemClock } from "./clock.ts";
import { COMMIT_MARGIN_BYTES, checkRoom } from "./disk-room.ts";
import { makeDatabase } from "./new-database.ts";
import { type Change, type Entry, PendingChanges } from "./pending-changes.ts";
import { WriteQueue } from "./write-queue.ts";

const PAGE_BYTES = 4096;
const MAP_BYTES = 64 * 2 ** 30;

const OPTIONS = {
  keyEncoding: "binary",
  encoding: "binary",
  // A commit then includes its fsync: its promise means durable, and not just visible.
  overlappingSync: false,
  cache: false,
  // The write queue does that; lmdb's own leaves a promise of it behind that nobody can catch when the disk is full.
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
  readonly #pending = new PendingChanges();
  readonly #queue = new WriteQueue({
    clock: systemClock,
    groupBytesMax: Number.POSITIVE_INFINITY,
    commit: (changes) => this.#commit(changes),
    undo: (changes) => this.#pending.undo(changes, () => undefined),
  });

  constructor(database: RootDatabase<Uint8Array, Uint8Array>, folder: string) {
    this.#database = database;
    this.#folder = folder;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const pending = this.#pending.get(key);
    return pending === undefined ? this.#database.get(key) : pending.value;
  }

  range(from: Uint8Array, to: Uint8Array): Generator<Entry> {
    return this.#pending.over(this.#database.getRange({ start: from, end: to }), from, to);
  }

  write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void> {
    return this.#queue.add(this.#pending.take(mutations, this), timing);
  }

  async #commit(changes: readonly Change[]): Promise<void> {
    checkCommitRoom(this.#folder, {
      changes: changes.length,
      valueBytes: changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0),
    });
    try {
      await this.#database.batch(() => {
        for (const { key, value } of changes) {
          // Inside a batch these answer with the batch's own promise.
          void (value === undefined ? this.#database.remove(key) : this.#database.put(key, value));
        }
      });
    } catch (error) {
      throw await commitFailure(error);
    }
    this.#pending.forget(changes);
  }

  /** All that was committed is in the database already. */
  flush(): Promise<void> {
    return this.write([]);
  }

  /** lmdb reads all in one transaction until a timer ends it, and that shows one moment of the database. */
  catchUp(): void {
    this.#database.resetReadTxn();
  }

  async close(): Promise<void> {
    try {
      await this.write([]);
    } finally {
      await this.#database.close();
    }
  }
}

/**
 * Throws when a commit might meet the end of the disk, or a file system that has become read-only, which would do the
 * same harm (`disk-room.ts`). LMDB copies every page it changes: at worst two for a key, and never more than it has.
 */
export function checkCommitRoom(folder: string, size: { changes: number; valueBytes: number }): void {
  accessSync(folder, constants.W_OK);
  const databaseBytes = statSync(join(folder, "data.mdb")).size;
  const pageBytes = Math.min(size.changes * 2 * PAGE_BYTES, databaseBytes);
  checkRoom(folder, 2 * size.valueBytes + pageBytes, COMMIT_MARGIN_BYTES);
}

/** lmdb rejects with "Commit failed"; the reason is in a promise beside it. */
async function commitFailure(error: unknown): Promise<Error> {
  const detail = (error as { commitError?: Promise<never> }).commitError;
  return Promise.resolve(detail).then(
    () => (error instanceof Error ? error : new Error(String(error))),
    (reason: Error) => reason,
  );
}
