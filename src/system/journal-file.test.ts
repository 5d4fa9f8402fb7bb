/** Journals beside a database, as files. What a store behind one does is in journaled-store.test.ts. */
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { openJournaledStore, replayJournals } from "./journal-file.ts";
import { openLmdbStore } from "./lmdb-store.ts";
import { RECORD_HEAD_BYTES } from "./store-journal.ts";

const put = (key: string, value: string): Mutation => ({ put: Buffer.from(key), value: Buffer.from(value) });

function entriesOf(store: KeyValueStore): string[] {
  const entries = store.range(Buffer.from("a"), Buffer.from("z"));
  return Array.from(entries, ({ key, value }) => `${Buffer.from(key)}=${Buffer.from(value)}`);
}

describe("journals beside a database", () => {
  let root: string;
  let folder: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "journal-file-"));
    folder = join(root, "trees");
  });

  afterEach(() => rmSync(root, { recursive: true }));

  /** The folder as somebody finds it whose predecessor was killed now. */
  function killed(): string {
    const copy = mkdtempSync(join(root, "copy-"));
    cpSync(folder, copy, { recursive: true });
    return copy;
  }

  async function inDatabase(path: string): Promise<string[]> {
    const store = openLmdbStore(path);
    const entries = entriesOf(store);
    await store.close();
    return entries;
  }

  it("have what was answered: all of them are replayed at once, or each by who opens it", async () => {
    const [one, two] = [await openJournaledStore(folder, "1"), await openJournaledStore(folder, "2")];
    await one.write([put("one", "1"), put("gone", "1")]);
    await one.write([{ remove: Buffer.from("gone") }]);
    await two.write([put("two", "2")]);
    const [all, each] = [killed(), killed()];
    expect(await inDatabase(killed())).toEqual([]);

    await replayJournals(all);
    expect(await inDatabase(all)).toEqual(["one=1", "two=2"]);

    const again = await openJournaledStore(each, "2");
    expect(entriesOf(again)).toEqual(["two=2"]);
    await again.close();
    await Promise.all([one.close(), two.close()]);
  });

  it("are replayed once: what another process has changed since it was told stays", async () => {
    const store = await openJournaledStore(folder, "1");
    await store.write([put("file", "old")]);
    await store.flush();
    const other = killed();
    await store.close();
    const direct = openLmdbStore(other);
    expect(entriesOf(direct)).toEqual(["file=old"]);
    await direct.write([{ remove: Buffer.from("file") }]);
    await direct.close();
    await replayJournals(other);
    await replayJournals(other);
    expect(await inDatabase(other)).toEqual([]);
  });

  it("go on over many restarts, clean or not", async () => {
    let at = folder;
    for (let round = 0; round < 6; round += 1) {
      const store = await openJournaledStore(at, "1");
      expect(entriesOf(store)).toHaveLength(round);
      await store.write([put(`k${round}`, "v")]);
      folder = at;
      if (round % 2 === 0) at = killed();
      await store.close();
    }
  });

  it("are made anew where blocks are missing or the size is another, after what is in them was replayed", async () => {
    const path = join(folder, "journal-1");
    const store = await openJournaledStore(folder, "1", 64 * 1024);
    await store.write([put("file", "v")]);
    folder = killed();
    await store.close();
    const larger = await openJournaledStore(folder, "1");
    expect(entriesOf(larger)).toEqual(["file=v"]);
    await larger.close();
    const { size } = statSync(join(folder, "journal-1"));
    truncateSync(join(folder, "journal-1"), 0);
    truncateSync(join(folder, "journal-1"), size);
    const sparse = await openJournaledStore(folder, "1");
    await sparse.write([put("next", "v")]);
    expect(statSync(join(folder, "journal-1")).blocks * 512).toBeGreaterThanOrEqual(size);
    expect(path).not.toBe(join(folder, "journal-1"));
    await sparse.close();
  });

  it("keep the program from starting when they are damaged, and can be taken away", async () => {
    const store = await openJournaledStore(folder, "1");
    for (const key of ["a", "b", "c"]) await store.write([put(key, "v")]);
    folder = killed();
    await store.close();
    const path = join(folder, "journal-1");
    const bytes = readFileSync(path);
    // In the first record's value.
    bytes[RECORD_HEAD_BYTES + 7]! ^= 1;
    writeFileSync(path, bytes);
    const refusal = `Cannot read the journal ${path}: record 1 is damaged and later ones are there`;
    await expect(replayJournals(folder)).rejects.toThrow(refusal);
    await expect(openJournaledStore(folder, "1")).rejects.toThrow(refusal);
    rmSync(path);
    await replayJournals(folder);
    const again = await openJournaledStore(folder, "1");
    await again.write([put("d", "v")]);
    await again.close();
    expect(await inDatabase(folder)).toEqual(["d=v"]);
  });

  it("are not read when they are larger than any of ours", async () => {
    const store = await openJournaledStore(folder, "1");
    await store.close();
    truncateSync(join(folder, "journal-1"), 65 * 2 ** 20);
    await expect(replayJournals(folder)).rejects.toThrow(
      /^Cannot read the journal .*: it has 68157440 bytes, more than/,
    );
  });
});
