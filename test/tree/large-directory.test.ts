/**
 * A directory of 105,000 files in a node's layer, more names than are kept in memory at once: made, listed while it
 * changes, and emptied, without being read from the store again for each change.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { FileName } from "../../src/bytes/file-name.ts";
import { MemoryImage } from "../../src/tree/memory-image.ts";
import type { Tree } from "../../src/tree/tree.ts";
import { ROOT, Storage } from "../../src/tree/tree-fixture.ts";
import { openTreeStore, type TreeStore } from "../../src/tree/tree-store.ts";

const FILES = 105_000;
/** As many as a READDIR of 32 KiB holds. */
const LISTED_AT_ONCE = 1000;
const AT_ONCE = 500;
const PIECES_CHANGED = 50;
const TIMEOUT_MS = 240_000;

let trees: TreeStore;
let tree: Tree;
let directory: number;
/** How often a run of keys was read from the store. */
let ranges = 0;

const name = (text: string) => text as FileName;

async function inTurns(count: number, run: (index: number) => unknown): Promise<void> {
  for (let start = 0; start < count; start += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - start) }, (_, index) => run(start + index)));
  }
}

/** Lists the directory piece by piece; `meanwhile` is run after each piece, with its names. */
async function list(meanwhile: (names: string[], piece: number) => Promise<void>): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (let cookie = 0, piece = 0; ; piece++) {
    const { entries, complete } = tree.readdir(directory, cookie, LISTED_AT_ONCE);
    const names = entries.map((entry) => entry.name as string).filter((each) => each !== "." && each !== "..");
    for (const each of names) seen.set(each, (seen.get(each) ?? 0) + 1);
    await meanwhile(names, piece);
    if (complete) return seen;
    cookie = entries.at(-1)!.cookie;
  }
}

beforeAll(async () => {
  const storage = new Storage();
  const range = storage.keyValueStore.range.bind(storage.keyValueStore);
  storage.keyValueStore.range = (...args) => {
    ranges++;
    return range(...args);
  };
  trees = await openTreeStore(storage);
  const image = new MemoryImage({});
  tree = await trees.tree({ node: "node1", kind: "root", image, imageId: "image", generated: [] });
  directory = await tree.mkdir(tree.rootId, name("d"), { ...ROOT, mode: 0o755 });
});

afterAll(() => trees.close());

it(
  "is filled, listed while it changes, and emptied, and is not read again for it",
  async () => {
    await inTurns(FILES, (index) => tree.create(directory, name(`f${index}`), { kind: "guarded" }, ROOT));
    // Of each piece one file goes that was seen, one that was not yet, and one gets another name; others come.
    const gone = new Set<string>();
    const renamed = new Map<string, string>();
    const seen = await list(async (names, piece) => {
      const [first, second] = names;
      const later = `f${FILES - 1 - piece}`;
      if (!first?.startsWith("f") || !second?.startsWith("f") || piece >= PIECES_CHANGED) return;
      for (const each of [first, later]) {
        gone.add(each);
        await tree.remove(directory, name(each));
      }
      renamed.set(second, `renamed${piece}`);
      await tree.rename(directory, name(second), directory, name(`renamed${piece}`));
      await tree.create(directory, name(`new${piece}`), { kind: "guarded" }, ROOT);
    });
    const staying = Array.from({ length: FILES }, (_, index) => `f${index}`).filter((each) => !gone.has(each));
    expect(staying.filter((each) => seen.get(each) !== 1)).toEqual([]);

    const left = await list(async () => {});
    const expected = [...staying.filter((each) => !renamed.has(each)), ...renamed.values()];
    for (let piece = 0; piece < renamed.size; piece++) expected.push(`new${piece}`);
    expect([...left.keys()].sort()).toEqual(expected.sort());
    expect([...left.values()].every((times) => times === 1)).toBe(true);

    const removed = await list((names) =>
      inTurns(names.length, (index) => tree.remove(directory, name(names[index]!))),
    );
    expect(removed.size).toBe(left.size);
    await tree.rmdir(tree.rootId, name("d"));
    expect(ranges).toBeLessThan(20);
  },
  TIMEOUT_MS,
);
