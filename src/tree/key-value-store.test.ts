/** What every implementation of the key-value port must do. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { Awaitable, KeyValueStore, Mutation } from "../ports.ts";
import { openJournaledStore } from "../system/journal-file.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import { MemoryStore } from "./memory-store.ts";

const root = mkdtempSync(join(tmpdir(), "key-value-"));
let folderCount = 0;

afterAll(() => rmSync(root, { recursive: true }));

const implementations: [string, () => Awaitable<KeyValueStore>][] = [
  ["in memory", () => new MemoryStore()],
  ["on LMDB", () => openLmdbStore(join(root, `${folderCount++}`))],
  ["behind a journal", () => openJournaledStore(join(root, `${folderCount++}`), "1")],
];

const bytes = (text: string) => Buffer.from(text, "latin1");
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const put = (key: string, value: string): Mutation => ({ put: bytes(key), value: bytes(value) });
const removal = (key: string): Mutation => ({ remove: bytes(key) });
const rangeRemoval = (from: string, to: string): Mutation => ({ removeRange: { from: bytes(from), to: bytes(to) } });

/** A journal has a key of its own, before these. */
function contents(store: KeyValueStore, from = "a", to = "\xff\xff\xff\xff"): string {
  return Array.from(store.range(bytes(from), bytes(to)), ({ key, value }) => `${text(key)}=${text(value)}`).join(" ");
}

/** The model: a plain map, sorted when it is read. */
function apply(map: Map<string, string>, mutation: Mutation): void {
  if ("put" in mutation) map.set(text(mutation.put), text(mutation.value));
  else if ("remove" in mutation) map.delete(text(mutation.remove));
  else {
    const [from, to] = [text(mutation.removeRange.from), text(mutation.removeRange.to)];
    for (const key of [...map.keys()]) if (key >= from && key < to) map.delete(key);
  }
}

const key = fc.string({ unit: fc.constantFrom("a", "b", "\x80", "\xff"), minLength: 1, maxLength: 3 });
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(key, fc.string({ maxLength: 3 })).map(([key, value]) => put(key, value)) },
  { weight: 2, arbitrary: key.map(removal) },
  { weight: 1, arbitrary: fc.tuple(key, key).map(([from, to]) => rangeRemoval(from, to)) },
);

describe.each(implementations)("a key-value store %s", (_, openStore) => {
  it("orders keys bytewise and ranges over half-open intervals", async () => {
    const store = await openStore();
    await store.write([put("b", "2"), put("a", "1"), put("\xfe", "9"), put("ab", "1.5"), put("c", "3")]);
    expect(contents(store)).toBe("a=1 ab=1.5 b=2 c=3 \xfe=9");
    expect(contents(store, "ab", "c")).toBe("ab=1.5 b=2");
    expect(contents(store, "c", "c")).toBe("");
    await store.close();
  });

  it("applies mutations in their order, and shows them before the write is answered", async () => {
    const store = await openStore();
    await store.write([put("a", "1"), put("c", "3"), put("e", "5")]);
    const first = store.write([put("b", "2"), put("c", "three"), removal("e"), put("f", "6")]);
    expect(contents(store)).toBe("a=1 b=2 c=three f=6");
    const second = store.write([rangeRemoval("b", "d"), put("bb", "new"), removal("a"), put("a", "again")]);
    expect(contents(store)).toBe("a=again bb=new f=6");
    expect(store.get(bytes("c"))).toBeUndefined();
    await Promise.all([first, second]);
    expect(contents(store)).toBe("a=again bb=new f=6");
    await store.close();
  });

  it("goes on showing what is newer while what is older becomes durable", async () => {
    const store = await openStore();
    const first = store.write([put("a", "1"), put("b", "1")]);
    // So that they are not committed together.
    await new Promise(setImmediate);
    const second = store.write([put("a", "2"), removal("b")]);
    await first;
    expect(contents(store)).toBe("a=2");
    await second;
    const flushed = store.flush();
    await new Promise(setImmediate);
    const third = store.write([put("a", "3"), put("b", "3")]);
    await flushed;
    expect(contents(store)).toBe("a=3 b=3");
    expect(text(store.get(bytes("a"))!)).toBe("3");
    await third;
    await store.close();
  });

  it("keeps its own copies of keys and values", async () => {
    const store = await openStore();
    const [key, value] = [bytes("key"), bytes("value")];
    const written = store.write([{ put: key, value }]);
    key.fill(0);
    value.fill(0);
    await written;
    expect(contents(store)).toBe("key=value");
    await store.close();
  });

  it("is a sorted map under random writes, awaited or not", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(mutation), fc.constantFrom("wait", "flush", "go on"))),
        async (writes) => {
          const store = await openStore();
          const model = new Map<string, string>();
          const unanswered: Promise<void>[] = [];
          for (const [mutations, then] of writes) {
            for (const mutation of mutations) apply(model, mutation);
            const written = store.write(mutations);
            unanswered.push(written);
            if (then === "wait") await written;
            if (then === "flush") await store.flush();
            const sorted = [...model].sort(([one], [other]) => (one < other ? -1 : 1));
            expect(contents(store)).toBe(sorted.map(([key, value]) => `${key}=${value}`).join(" "));
          }
          await Promise.all(unanswered);
          await store.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});
