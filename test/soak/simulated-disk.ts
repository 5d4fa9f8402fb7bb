/**
 * A disk whose power can be cut at any moment. What was promised to be durable is there afterwards. Of what was not,
 * anything may be: transactions up to any one, data in pieces of a block, each of them or not, files with or without
 * their new names, removed files still there.
 */
import type { DataFile, DataFiles, KeyValueStore, Mutation, WriteTiming } from "../../src/ports.ts";
import type { JournalFile } from "../../src/system/store-journal.ts";
import { MemoryContent, MemoryStore } from "../../src/tree/memory-store.ts";
import type { SeededRandom } from "./seeded-random.ts";

const BLOCK_BYTES = 4096;

/** How long a write waits that need not be durable at once, in events of the disk. */
const LATE_EVENTS = 20;

type Change = { offset: number; bytes: Uint8Array } | { sizeBytes: number };

/** A file from its making to its removal. */
class Incarnation {
  readonly durable: MemoryContent;
  /** Since then, oldest first. */
  changes: Change[] = [];
  readonly live: MemoryContent;
  hasDurableName = false;

  constructor(content: MemoryContent) {
    this.durable = content;
    this.live = content.copy();
  }

  apply(change: Change): void {
    this.changes.push(change);
    applyTo(this.live, change);
  }
}

function applyTo(content: MemoryContent, change: Change): void {
  if ("sizeBytes" in change) content.truncate(change.sizeBytes);
  else content.write(change.bytes, change.offset);
}

/** What may come of the changes that nobody had synced. */
type Fate = "none" | "all" | "some";

export class SimulatedDisk implements KeyValueStore, DataFiles {
  readonly #random: SeededRandom;
  readonly #visible = new MemoryStore();
  readonly #transactions: (readonly Mutation[])[] = [];
  #durableTransactions = 0;
  /** By name: those that may be found after a cut, the newest last; `undefined` there: removed. */
  readonly #files = new Map<string, (Incarnation | undefined)[]>();
  /** The file of a journal. */
  #journal = new MemoryContent();
  /** What is being written to it. */
  readonly #journalPieces = new Set<{ offset: number; bytes: Uint8Array }>();
  /** How long calls take at most, in turns of the event loop. */
  turnsMax = 4;
  #isOff = false;
  #onEvent: () => void = () => {};

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Hears of everything that has happened to the disk. */
  onEvent(handler: () => void): void {
    this.#onEvent = handler;
  }

  /** The time a disk takes. Never ends when the power is off. */
  async #work(): Promise<void> {
    for (let turns = this.#random.below(this.turnsMax + 1); turns > 0; turns -= 1) await new Promise(setImmediate);
    if (this.#isOff) await new Promise(() => {});
    this.#onEvent();
  }

  async flush(): Promise<void> {}

  catchUp(): void {}

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#visible.get(key);
  }

  range(from: Uint8Array, to: Uint8Array): Iterable<{ key: Uint8Array; value: Uint8Array }> {
    return this.#visible.range(from, to);
  }

  async write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void> {
    void this.#visible.write(mutations);
    const number = this.#transactions.push(mutations.map(copyOf));
    await this.#work();
    // What may wait does, until something comes that may not.
    for (let events = 0; timing !== undefined && events < LATE_EVENTS; events += 1) {
      if (this.#durableTransactions >= number) return;
      await this.#work();
    }
    this.#durableTransactions = Math.max(this.#durableTransactions, number);
  }

  async close(): Promise<void> {}

  /** Its writes are durable when they are answered (O_DSYNC), and any part of them may be before. */
  get journalFile(): JournalFile {
    return {
      write: async (bytes, offset) => {
        const pieces = inBlocks(bytes, offset);
        for (const piece of pieces) this.#journalPieces.add(piece);
        await this.#work();
        for (const piece of pieces) {
          this.#journalPieces.delete(piece);
          this.#journal.write(piece.bytes, piece.offset);
        }
      },
      close: async () => {},
    };
  }

  /** As it is found at the start. */
  journalBytes(sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    this.#journal.read(bytes, 0);
    return bytes;
  }

  #newest(name: string): Incarnation | undefined {
    return this.#files.get(name)?.at(-1);
  }

  async open(name: string, { make }: { make: boolean }): Promise<DataFile> {
    await this.#work();
    const known = this.#newest(name);
    if (known !== undefined) return this.#opened(known, name, false);
    if (!make) throw missing(name);
    const made = new Incarnation(new MemoryContent());
    this.#files.set(name, [...(this.#files.get(name) ?? []), made]);
    return this.#opened(made, name, true);
  }

  #opened(file: Incarnation, name: string, isNew: boolean): DataFile {
    return {
      isNew,
      readSync: (target, offset) => file.live.read(target, offset),
      read: async (target, offset) => {
        await this.#work();
        return file.live.read(target, offset);
      },
      write: async (parts, offset) => {
        await this.#work();
        for (const part of parts) {
          for (const piece of inBlocks(part, offset)) file.apply(piece);
          offset += part.length;
        }
      },
      truncate: async (sizeBytes) => {
        await this.#work();
        file.apply({ sizeBytes });
      },
      sync: async () => {
        const count = file.changes.length;
        await this.#work();
        this.#madeDurable(file, name, file.changes.slice(0, count));
      },
      close: () => {},
    };
  }

  #madeDurable(file: Incarnation, name: string, changes: readonly Change[]): void {
    const isNew = new Set(changes);
    for (const change of changes) if (file.changes.includes(change)) applyTo(file.durable, change);
    file.changes = file.changes.filter((change) => !isNew.has(change));
    file.hasDurableName = true;
    // The name in its folder is durable, and so is everything that happened to that name before.
    const incarnations = this.#files.get(name) ?? [];
    const index = incarnations.indexOf(file);
    if (index > 0) incarnations.splice(0, index);
  }

  readSync(name: string, target: Uint8Array, offset: number): number {
    const file = this.#newest(name);
    if (file === undefined) throw missing(name);
    return file.live.read(target, offset);
  }

  async remove(name: string): Promise<void> {
    await this.#work();
    if (this.#newest(name) !== undefined) this.#files.get(name)!.push(undefined);
  }

  removeFolder(folder: string): void {
    for (const [name, incarnations] of this.#files) {
      if (name.startsWith(`${folder}/`) && incarnations.at(-1) !== undefined) incarnations.push(undefined);
    }
  }

  list(folder: string): string[] {
    const prefix = folder === "" ? "" : `${folder}/`;
    const names = [...this.#files.keys()].filter((name) => name.startsWith(prefix) && this.#newest(name) !== undefined);
    return [...new Set(names.map((name) => name.slice(prefix.length).split("/")[0]!))].sort();
  }

  space(): { totalBytes: number; freeBytes: number } {
    return { totalBytes: 2 ** 40, freeBytes: 2 ** 39 };
  }

  /** Nothing that is under way ends any more. */
  turnOff(): void {
    this.#isOff = true;
  }

  /** What could be found had the power gone now. */
  cut(random: SeededRandom): SimulatedDisk {
    const disk = new SimulatedDisk(random);
    const unsure = this.#transactions.length - this.#durableTransactions;
    const kept = this.#durableTransactions + random.below(unsure + 1);
    for (const mutations of this.#transactions.slice(0, kept)) {
      disk.#transactions.push(mutations);
      void disk.#visible.write(mutations);
    }
    disk.#durableTransactions = kept;
    disk.#journal = this.#journal.copy();
    const fate = random.pick<Fate>(["none", "all", "some", "some"]);
    for (const { offset, bytes } of this.#journalPieces) {
      if (fate === "all" || (fate === "some" && random.chance(0.5))) disk.#journal.write(bytes, offset);
    }
    for (const [name, incarnations] of this.#files) {
      const found = afterCut(incarnations, fate, random);
      if (found !== undefined) disk.#files.set(name, [found]);
    }
    return disk;
  }
}

function afterCut(
  incarnations: readonly (Incarnation | undefined)[],
  fate: Fate,
  random: SeededRandom,
): Incarnation | undefined {
  const isKept = () => fate === "all" || (fate === "some" && random.chance(0.5));
  // A name that is not durable may be missing; one that is stays until a later event of its folder takes its place.
  let found = incarnations[0]?.hasDurableName ? incarnations[0] : undefined;
  for (const incarnation of incarnations) if (incarnation !== found && isKept()) found = incarnation;
  if (found === undefined) return undefined;
  const content = found.durable.copy();
  for (const change of found.changes) if (isKept()) applyTo(content, change);
  const copy = new Incarnation(content);
  copy.hasDurableName = true;
  return copy;
}

function inBlocks(bytes: Uint8Array, offset: number): { offset: number; bytes: Uint8Array }[] {
  const pieces: { offset: number; bytes: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const countBytes = Math.min(bytes.length - at, BLOCK_BYTES - ((offset + at) % BLOCK_BYTES));
    pieces.push({ offset: offset + at, bytes: bytes.slice(at, at + countBytes) });
    at += countBytes;
  }
  return pieces;
}

function copyOf(mutation: Mutation): Mutation {
  if ("put" in mutation) return { put: new Uint8Array(mutation.put), value: new Uint8Array(mutation.value) };
  if ("remove" in mutation) return { remove: new Uint8Array(mutation.remove) };
  const { from, to } = mutation.removeRange;
  return { removeRange: { from: new Uint8Array(from), to: new Uint8Array(to) } };
}

function missing(name: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, open '${name}'`), { code: "ENOENT" });
}
