/**
 * A key-value store behind a journal: a write is answered when one record of it is on disk, which costs one flush of the
 * disk instead of a commit's two, and no turn of LMDB's thread. The store itself is brought up to date behind it, for many
 * writes at once. Only this process writes the journal, and only it sees at once what is in there.
 */
import type { Clock, KeyValueStore, Mutation, Timer, WriteTiming } from "../ports.ts";
import { type Change, type Entry, PendingChanges } from "./pending-changes.ts";
import { journalRecords, type StoreJournal } from "./store-journal.ts";
import { sizeOf, WriteQueue } from "./write-queue.ts";

/** So long what was answered may be in the journal only. */
const APPLY_DELAY_MS = 1000;
/** Or so much of it: the event loop waits for milliseconds while thousands of changes are handed to the store. */
const APPLY_BYTES = 256 * 1024;
/** Writes that share a record. */
const GROUP_BYTES_MAX = 2 ** 20;

/** Changes that are committed together when a journal is replayed. */
const REPLAYED_AT_ONCE = 1000;

/** The number of the last record that the store holds. */
export function appliedNumber(store: KeyValueStore, journalName: string): number {
  const value = store.get(appliedNumberKey(journalName));
  return value === undefined ? 0 : Buffer.from(value).readUIntBE(0, 6);
}

function appliedNumberKey(journalName: string): Uint8Array {
  return Buffer.from(`J${journalName}`);
}

function appliedNumberPut(journalName: string, number: number): Mutation {
  const value = Buffer.alloc(6);
  value.writeUIntBE(number, 0, 6);
  return { put: appliedNumberKey(journalName), value };
}

/** Gives the store what it does not have of a journal's file. Rejects when that is damaged. */
export async function replayJournal(
  store: KeyValueStore,
  file: Uint8Array,
  journalName: string,
  path: string,
): Promise<void> {
  const records = journalRecords(file, appliedNumber(store, journalName), path);
  let mutations: Mutation[] = [];
  for (const [index, { number, changes }] of records.entries()) {
    for (const mutation of mutationsOf(changes)) mutations.push(mutation);
    if (mutations.length < REPLAYED_AT_ONCE && index < records.length - 1) continue;
    await store.write([...mutations, appliedNumberPut(journalName, number)]);
    mutations = [];
  }
}

export interface JournaledStoreOptions {
  /** Holds everything that the journal ever held. */
  store: KeyValueStore;
  journal: StoreJournal;
  journalName: string;
  clock: Pick<Clock, "monotonicMs" | "after">;
  /** Throws when the store might not take so much more: what was answered must find room there. */
  checkRoom(size: { changes: number; valueBytes: number }): void;
}

/** Changes that are in the journal, the newest of each key. */
class Answered {
  readonly changes = new Map<string, Change>();
  valueBytes = 0;

  add(changes: Iterable<Change>): void {
    for (const change of changes) {
      this.valueBytes += (change.value?.length ?? 0) - (this.changes.get(change.text)?.value?.length ?? 0);
      this.changes.set(change.text, change);
    }
  }
}

export class JournaledStore implements KeyValueStore {
  readonly #options: JournaledStoreOptions;
  /** What the store does not have yet, answered or not. */
  readonly #shown = new PendingChanges();
  #answered = new Answered();
  /** What the store is being given. */
  #applying = new Answered();
  #answeredNumber: number;
  #appliedNumber: number;
  /** In the journal since the store was last given everything. */
  #journaledBytes = 0;
  #isClosed = false;
  #turn: Promise<void> | undefined;
  #timer: Timer | undefined;
  readonly #queue: WriteQueue;

  constructor(options: JournaledStoreOptions) {
    this.#options = options;
    this.#answeredNumber = options.journal.lastNumber;
    this.#appliedNumber = options.journal.lastNumber;
    this.#queue = new WriteQueue({
      clock: options.clock,
      groupBytesMax: Math.min(GROUP_BYTES_MAX, options.journal.bodyBytesMax),
      commit: (changes) => this.#commit(changes),
      undo: (changes) => this.#shown.undo(changes, (text) => this.#answeredChange(text)),
    });
  }

  #answeredChange(text: string): Change | undefined {
    return this.#answered.changes.get(text) ?? this.#applying.changes.get(text);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const pending = this.#shown.get(key);
    return pending === undefined ? this.#options.store.get(key) : pending.value;
  }

  range(from: Uint8Array, to: Uint8Array): Generator<Entry> {
    return this.#shown.over(this.#options.store.range(from, to), from, to);
  }

  write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void> {
    return this.#queue.add(this.#shown.take(mutations, this), timing);
  }

  async #commit(changes: readonly Change[]): Promise<void> {
    const { journal } = this.#options;
    await this.#makeRoom(changes);
    if (sizeOf(changes) > journal.bodyBytesMax) return this.#commitDirectly(changes);
    try {
      await journal.append(changes);
    } catch (error) {
      // A later start must not find it: the store says that it has it.
      this.#answeredNumber = journal.lastNumber;
      throw error;
    }
    this.#answered.add(changes);
    this.#answeredNumber = journal.lastNumber;
    this.#journaledBytes += sizeOf(changes);
    if (this.#journaledBytes > APPLY_BYTES) void this.#apply().catch(() => this.#applyLater());
    else this.#applyLater();
  }

  /** In the journal, and in the store for what is there already. */
  async #makeRoom(changes: readonly Change[]): Promise<void> {
    const { journal, checkRoom } = this.#options;
    const valueBytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    const held = [this.#answered, this.#applying];
    try {
      checkRoom({
        changes: held.reduce((sum, each) => sum + each.changes.size, changes.length),
        valueBytes: held.reduce((sum, each) => sum + each.valueBytes, valueBytes),
      });
    } catch {
      await this.#applyAll();
      checkRoom({ changes: changes.length, valueBytes });
    }
    if (!journal.canTake(changes)) await this.#applyAll();
  }

  /** What is larger than half of the journal. */
  async #commitDirectly(changes: readonly Change[]): Promise<void> {
    await this.#applyAll();
    await this.#options.store.write(mutationsOf(changes));
    this.#shown.forget(changes);
  }

  #applyLater(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#options.clock.after(APPLY_DELAY_MS, () => {
      this.#timer = undefined;
      // Nothing is lost: it is in the journal, and whoever writes hears of it when that is full.
      this.#apply().catch(() => this.#applyLater());
    });
  }

  /** Gives the store everything that was answered until now. */
  async #applyAll(): Promise<void> {
    const number = this.#answeredNumber;
    while (this.#appliedNumber < number) await this.#apply();
  }

  /** Gives the store what was answered until now, or was when this was last begun. */
  #apply(): Promise<void> {
    this.#turn ??= this.#applyAnswered().finally(() => {
      this.#turn = undefined;
    });
    return this.#turn;
  }

  async #applyAnswered(): Promise<void> {
    const number = this.#answeredNumber;
    if (number === this.#appliedNumber) return;
    const { store, journal, journalName } = this.#options;
    const applying = this.#answered;
    this.#applying = applying;
    this.#answered = new Answered();
    this.#journaledBytes = 0;
    // In the order of their keys, as the database has them.
    const changes = [...applying.changes.values()].sort((one, other) => (one.text < other.text ? -1 : 1));
    try {
      await store.write([...mutationsOf(changes), appliedNumberPut(journalName, number)]);
    } catch (error) {
      applying.add(this.#answered.changes.values());
      this.#answered = applying;
      this.#applying = new Answered();
      throw error;
    }
    this.#applying = new Answered();
    this.#appliedNumber = number;
    journal.applied(number);
    this.#shown.forget(changes);
  }

  async flush(): Promise<void> {
    await this.write([]);
    await this.#applyAll();
  }

  catchUp(): void {
    this.#options.store.catchUp();
  }

  async close(): Promise<void> {
    try {
      await this.write([]);
      // What the store does not take now stays in the journal.
      await this.#applyAll().catch(() => {});
    } finally {
      this.#isClosed = true;
      this.#timer?.cancel();
      await this.#turn?.catch(() => {});
      await this.#options.journal.close();
      await this.#options.store.close();
    }
  }
}

function mutationsOf(changes: Iterable<Change>): Mutation[] {
  return Array.from(changes, ({ key, value }) => (value === undefined ? { remove: key } : { put: key, value }));
}
