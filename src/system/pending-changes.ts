/** Changes of a key-value store that are shown before they are in the database, and how a range looks with them. */
import { KEY_BYTES_MAX } from "../limits.ts";
import type { KeyValueStore, Mutation } from "../ports.ts";

export type Entry = { key: Uint8Array; value: Uint8Array };

/** What one key becomes; no value: it is removed. `text`: the key as latin1, which sorts as the bytes do. */
export interface Change {
  readonly key: Uint8Array;
  readonly text: string;
  readonly value: Uint8Array | undefined;
}

/** The newest change of each key. */
export class PendingChanges {
  readonly #newest = new Map<string, Change>();
  #sorted: string[] = [];

  get(key: Uint8Array): Change | undefined {
    return this.#newest.size === 0 ? undefined : this.#newest.get(textOf(key));
  }

  /**
   * Shows what `mutations` make of `store`, which is to show these changes itself. A range is the keys it has now: later
   * writes come after this one, so no other can be meant.
   */
  take(mutations: readonly Mutation[], store: Pick<KeyValueStore, "range">): Change[] {
    const changes: Change[] = [];
    const take = (key: Uint8Array, value: Uint8Array | undefined) => {
      // Out of Node's pool, which is faster than arrays of their own.
      const ownKey = Buffer.from(key);
      const change = { key: ownKey, text: ownKey.toString("latin1"), value: value && Buffer.from(value) };
      this.show(change);
      changes.push(change);
    };
    // All before any: what throws has changed nothing.
    for (const mutation of mutations) {
      if ("put" in mutation) checkKey(mutation.put);
      else if ("remove" in mutation) checkKey(mutation.remove);
    }
    for (const mutation of mutations) {
      if ("put" in mutation) take(mutation.put, mutation.value);
      else if ("remove" in mutation) take(mutation.remove, undefined);
      else {
        const { from, to } = mutation.removeRange;
        for (const key of Array.from(store.range(from, to), (entry) => entry.key)) take(key, undefined);
      }
    }
    return changes;
  }

  show(change: Change): void {
    const { text } = change;
    if (!this.#newest.has(text)) this.#sorted.splice(this.#placeOf(text), 0, text);
    this.#newest.set(text, change);
  }

  /** Those that the database has now. A newer change of the same key stays. */
  forget(changes: Iterable<Change>): void {
    for (const change of changes) {
      if (this.#newest.get(change.text) === change) this.#newest.delete(change.text);
    }
    this.#sorted = this.#newest.size === 0 ? [] : this.#sorted.filter((text) => this.#newest.has(text));
  }

  /** Shows of these keys what `before` has. */
  undo(changes: Iterable<Change>, before: (text: string) => Change | undefined): void {
    const undone: Change[] = [];
    for (const { text } of changes) {
      const change = before(text);
      const shown = this.#newest.get(text);
      if (change !== undefined) this.show(change);
      else if (shown !== undefined) undone.push(shown);
    }
    this.forget(undone);
  }

  /** `entries` of the database in `from <= key < to`, with the changes. */
  *over(entries: Iterable<Entry>, from: Uint8Array, to: Uint8Array): Generator<Entry> {
    const pending = this.#between(from, to);
    let next = 0;
    for (const { key, value } of entries) {
      while (next < pending.length && Buffer.compare(pending[next]!.key, key) < 0) yield* shown(pending[next++]!);
      if (next < pending.length && Buffer.compare(pending[next]!.key, key) === 0) yield* shown(pending[next++]!);
      else yield { key, value };
    }
    while (next < pending.length) yield* shown(pending[next++]!);
  }

  #between(from: Uint8Array, to: Uint8Array): Change[] {
    if (this.#sorted.length === 0) return [];
    const texts = this.#sorted.slice(this.#placeOf(textOf(from)), this.#placeOf(textOf(to)));
    return texts.map((text) => this.#newest.get(text)!);
  }

  /** How many keys come before this one. */
  #placeOf(text: string): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]! < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function* shown({ key, value }: Change): Generator<Entry> {
  if (value !== undefined) yield { key, value };
}

function checkKey(key: Uint8Array): void {
  if (key.length === 0 || key.length > KEY_BYTES_MAX) {
    throw new RangeError(`Cannot store a key of ${key.length} bytes: expected 1 to ${KEY_BYTES_MAX}`);
  }
}

export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}
