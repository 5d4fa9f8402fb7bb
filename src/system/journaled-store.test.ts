/** What a journal adds to a store; what every store does is tested in tree/key-value-store.test.ts. */
import { describe, expect, it } from "vitest";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { JournaledStore, replayJournal } from "./journaled-store.ts";
import { type JournalFile, StoreJournal } from "./store-journal.ts";

const FILE_BYTES = 2 * 4096;

/** A store or a file that can be stuck or fail. */
class Fault {
  #isHeld = false;
  #release: () => void = () => {};
  #held: Promise<void> = Promise.resolve();
  failure: string | undefined;

  hold(): void {
    this.#isHeld = true;
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  letGo(): void {
    this.#isHeld = false;
    this.#release();
  }

  async passed(): Promise<void> {
    await new Promise(setImmediate);
    if (this.#isHeld) await this.#held;
    if (this.failure !== undefined) throw Object.assign(new Error(this.failure), { code: this.failure });
  }
}

/** Keeps what it was given when the write is answered; what fails is undone, as the port says. */
class FaultyStore implements KeyValueStore {
  readonly fault = new Fault();
  readonly entries = new Map<string, Uint8Array>();
  writes = 0;

  get(key: Uint8Array): Uint8Array | undefined {
    return this.entries.get(Buffer.from(key).toString("latin1"));
  }

  *range(from: Uint8Array, to: Uint8Array) {
    const [first, end] = [Buffer.from(from).toString("latin1"), Buffer.from(to).toString("latin1")];
    for (const text of [...this.entries.keys()].sort()) {
      if (text >= first && text < end) yield { key: Buffer.from(text, "latin1"), value: this.entries.get(text)! };
    }
  }

  async write(mutations: readonly Mutation[]): Promise<void> {
    await this.fault.passed();
    this.writes += 1;
    for (const mutation of mutations) {
      if ("put" in mutation) this.entries.set(Buffer.from(mutation.put).toString("latin1"), mutation.value);
      else if ("remove" in mutation) this.entries.delete(Buffer.from(mutation.remove).toString("latin1"));
    }
  }

  async flush(): Promise<void> {}
  catchUp(): void {}
  async close(): Promise<void> {}
}

function lab() {
  const store = new FaultyStore();
  const fileFault = new Fault();
  const bytes = new Uint8Array(FILE_BYTES);
  const file: JournalFile = {
    async write(written, offset) {
      await fileFault.passed();
      bytes.set(written, offset);
    },
    close: async () => {},
  };
  const timers = new Set<() => void>();
  const room = { isLeft: true };
  let drawn = 0;
  const random = { bytes: (count: number) => new Uint8Array(count).fill(++drawn) };
  const journaled = new JournaledStore({
    store,
    journal: new StoreJournal({ file, sizeBytes: FILE_BYTES, random, appliedNumber: 0 }),
    journalName: "1",
    clock: {
      monotonicMs: () => 0,
      after: (_, run) => {
        timers.add(run);
        return { cancel: () => timers.delete(run) };
      },
    },
    checkRoom: () => {
      if (!room.isLeft) throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    },
  });
  const tick = () => {
    for (const run of [...timers]) {
      timers.delete(run);
      run();
    }
  };
  /** What somebody finds who opens the store after a crash now. */
  const afterCrash = async () => {
    const opened = new FaultyStore();
    for (const [key, value] of store.entries) opened.entries.set(key, value);
    await replayJournal(opened, bytes, "1", "journal-1");
    opened.entries.delete("J1");
    return Object.fromEntries([...opened.entries].map(([key, value]) => [key, Buffer.from(value).toString()]));
  };
  return { store, journaled, fileFault, room, tick, timers, afterCrash };
}

const put = (key: string, value: string): Mutation => ({ put: Buffer.from(key), value: Buffer.from(value) });
function textAt(store: KeyValueStore, key: string): string | undefined {
  const value = store.get(Buffer.from(key));
  return value && Buffer.from(value).toString();
}

describe("a store behind a journal", () => {
  it("answers when the journal has a write, and brings the store up to date behind it in one", async () => {
    const { journaled, store, tick, afterCrash } = lab();
    store.fault.hold();
    for (let index = 0; index < 5; index += 1) await journaled.write([put("a", `${index}`)]);
    await journaled.write([put("b", "1"), { remove: Buffer.from("a") }, put("c", "2")]);
    expect(await afterCrash()).toEqual({ b: "1", c: "2" });
    expect(store.writes).toBe(0);
    tick();
    await journaled.write([put("b", "later")]);
    expect(textAt(journaled, "b")).toBe("later");
    store.fault.letGo();
    await expect.poll(() => textAt(store, "b")).toBe("1");
    expect(textAt(journaled, "b")).toBe("later");
    await journaled.flush();
    expect(store.writes).toBe(2);
    expect(textAt(store, "b")).toBe("later");
    await journaled.close();
  });

  it("brings the store up to date a while after the last write, and then has nothing to do", async () => {
    const { journaled, store, tick, timers } = lab();
    await journaled.write([put("a", "1")]);
    tick();
    await expect.poll(() => textAt(store, "a")).toBe("1");
    expect(timers.size).toBe(0);
    await journaled.close();
  });

  it("rejects what the journal does not take, shows what was answered, and never finds the rejected again", async () => {
    const { journaled, fileFault, afterCrash } = lab();
    await journaled.write([put("a", "answered")]);
    fileFault.failure = "EIO";
    const failed = [journaled.write([put("a", "failed")]), journaled.write([put("b", "failed")])];
    expect(textAt(journaled, "a")).toBe("failed");
    for (const write of failed) await expect(write).rejects.toThrow("EIO");
    expect(textAt(journaled, "a")).toBe("answered");
    expect(textAt(journaled, "b")).toBeUndefined();
    fileFault.failure = undefined;
    await journaled.write([put("c", "next")]);
    expect(await afterCrash()).toEqual({ a: "answered", c: "next" });
    await journaled.close();
  });

  it("keeps what was answered while the store fails, refuses with its reason when the journal is full, and recovers", async () => {
    const { journaled, store, tick, afterCrash } = lab();
    store.fault.failure = "ENOSPC";
    const value = "x".repeat(500);
    let answered = 0;
    for (;;) {
      const outcome = await journaled.write([put(`k${answered}`, value)]).catch((error: Error) => error.message);
      if (outcome !== undefined) {
        expect(outcome).toBe("ENOSPC");
        break;
      }
      answered += 1;
      if (answered % 3 === 0) tick();
    }
    expect(answered).toBeGreaterThan(10);
    expect(Object.keys(await afterCrash())).toHaveLength(answered);
    expect(textAt(journaled, "k0")).toBe(value);
    expect(textAt(journaled, `k${answered}`)).toBeUndefined();
    await expect(journaled.flush()).rejects.toThrow("ENOSPC");
    store.fault.failure = undefined;
    await journaled.write([put("after", "1")]);
    expect(Object.keys(await afterCrash())).toHaveLength(answered + 1);
    await journaled.close();
    expect(store.entries.size).toBe(answered + 2);
  });

  it("shows what was answered when the store fails and newer values are not answered yet", async () => {
    const { journaled, store, fileFault, tick } = lab();
    await journaled.write([put("a", "1")]);
    store.fault.hold();
    tick();
    await journaled.write([put("a", "2")]);
    fileFault.hold();
    const third = journaled.write([put("a", "3")]);
    store.fault.failure = "EIO";
    store.fault.letGo();
    await new Promise(setImmediate);
    expect(textAt(journaled, "a")).toBe("3");
    fileFault.failure = "EIO";
    fileFault.letGo();
    await expect(third).rejects.toThrow("EIO");
    expect(textAt(journaled, "a")).toBe("2");
    [fileFault.failure, store.fault.failure] = [undefined, undefined];
    await journaled.flush();
    expect(textAt(store, "a")).toBe("2");
    await journaled.close();
  });

  it("writes what is larger than half of the journal to the store itself, in its turn", async () => {
    const { journaled, store, afterCrash } = lab();
    const large = "x".repeat(FILE_BYTES);
    const written = [
      journaled.write([put("a", "1")]),
      journaled.write([put("a", large)]),
      journaled.write([put("a", "3")]),
    ];
    await written[1];
    expect(textAt(store, "a")).toBe(large);
    await Promise.all(written);
    expect(await afterCrash()).toEqual({ a: "3" });
    await journaled.close();
  });

  it("refuses a write that the store may have no room for, and takes it when there is room again", async () => {
    const { journaled, room } = lab();
    await journaled.write([put("a", "1")]);
    room.isLeft = false;
    await expect(journaled.write([put("b", "1")])).rejects.toThrow("no room");
    expect(textAt(journaled, "b")).toBeUndefined();
    room.isLeft = true;
    await journaled.write([put("b", "2")]);
    expect(textAt(journaled, "b")).toBe("2");
    await journaled.close();
  });

  it("gives the store everything before it closes, and closes also when the store takes nothing", async () => {
    const one = lab();
    void one.journaled.write([put("a", "1")], { withinMs: 60_000 });
    await one.journaled.close();
    expect(textAt(one.store, "a")).toBe("1");
    const other = lab();
    await other.journaled.write([put("a", "1")]);
    other.store.fault.failure = "EROFS";
    await other.journaled.close();
    expect(await other.afterCrash()).toEqual({ a: "1" });
    expect(other.timers.size).toBe(0);
  });
});
