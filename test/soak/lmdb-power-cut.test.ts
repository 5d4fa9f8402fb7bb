/**
 * LMDB itself and the journal in front of it under a power cut: what was written to their files, page by page, is replayed
 * up to any call, with any part of what was not synced. Together they must keep their promise: they open, at a transaction
 * no older than the last one that was answered.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Mutation } from "../../src/ports.ts";
import { openJournaledStore } from "../../src/system/journal-file.ts";
import { MemoryStore } from "../../src/tree/memory-store.ts";
import { requireTools } from "../lab/required-tools.ts";
import { entriesOf, type FoundStore, KEYS } from "./lmdb-reader.ts";
import { JOURNAL, JOURNAL_BYTES, MARKS, transaction } from "./lmdb-writer.ts";
import { SeededRandom } from "./seeded-random.ts";
import { afterCut, type FileEvent, readTrace } from "./written-pages.ts";

const ROOT = join(import.meta.dirname, "../..");
const OUTPUT = join(ROOT, ".cache/soak");
const TRANSACTIONS = 120;
const CUTS = 400;
const FILES = ["data.mdb", `journal-${JOURNAL}`];

function compile(): void {
  execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", "tsconfig.soak.json"], { cwd: ROOT });
  copyFileSync(join(ROOT, "package.json"), join(OUTPUT, "package.json"));
}

/** Database and journal appear whole (`system/new-database.ts`), so this is what there is at first. */
async function makeStore(store: string): Promise<Map<string, Uint8Array>> {
  await (await openJournaledStore(store, JOURNAL, JOURNAL_BYTES)).close();
  return new Map(FILES.map((file) => [file, readFileSync(join(store, file))]));
}

function trace(folder: string, store: string, seed: number): FileEvent[] {
  const output = join(folder, "trace");
  const calls = "trace=openat,close,write,lseek,pwrite64,pwritev,pwritev2,writev,fdatasync,fsync,ftruncate,msync";
  const paths = [...FILES, MARKS].flatMap((name) => ["-P", join(store, name)]);
  const program = [process.execPath, join(OUTPUT, "test/soak/lmdb-writer.js"), store, `${seed}`, `${TRANSACTIONS}`];
  const { status, stderr } = spawnSync(
    "strace",
    ["-f", "-xx", "-s", "10000000", "-e", calls, ...paths, "-o", output, ...program],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`the writer ended with ${status}: ${stderr}`);
  return readTrace(readFileSync(output, "latin1"), MARKS);
}

/** In a process of its own: LMDB may end the one that meets a damaged file. */
function read(folders: readonly string[]): FoundStore[] {
  const words = [join(OUTPUT, "test/soak/lmdb-reader.js"), ...folders];
  const { stdout, stderr, signal } = spawnSync(process.execPath, words, { encoding: "utf8", maxBuffer: 2 ** 28 });
  const lines = stdout.trim().split("\n");
  if (lines.length < folders.length) console.error(`the reader ended with ${signal} after ${lines.length}: ${stderr}`);
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
}

async function expectedAfter(seed: number, count: number): Promise<string[]> {
  const model = new MemoryStore();
  const mutations: Mutation[] = [];
  for (let number = 1; number <= count; number += 1) mutations.push(...transaction(seed, number));
  await model.write(mutations);
  return entriesOf(model.range(KEYS.from, KEYS.to));
}

it.skipIf(requireTools(["strace"]))(
  "opens at what was answered, or later, after every cut",
  { timeout: 240_000 },
  async () => {
    const seed = process.env.SEED === undefined ? Math.floor(Math.random() * 2 ** 20) : Number(process.env.SEED);
    const random = new SeededRandom(seed);
    mkdirSync(join(ROOT, ".cache"), { recursive: true });
    const folder = mkdtempSync(join(ROOT, ".cache/lmdb-cut-"));
    try {
      compile();
      const store = join(folder, "store");
      const bases = await makeStore(store);
      const events = trace(folder, store, seed);
      expect(events.filter(({ kind }) => kind === "mark")).toHaveLength(TRANSACTIONS);
      const isDurable = (event: FileEvent) => event.kind === "sync" || (event.kind === "write" && event.isDurable);
      for (const name of FILES) {
        const flushes = events.filter((event) => "file" in event && event.file === name && isDurable(event));
        expect(flushes.length, name).toBeGreaterThan(20);
      }
      const cuts = Array.from({ length: CUTS }, (_, cut) => {
        const count = random.below(events.length + 1);
        const { contents, mark } = afterCut(bases, events, count, random);
        const opened = join(folder, `cut${cut}`);
        mkdirSync(opened);
        for (const [file, content] of contents) writeFileSync(join(opened, file), content);
        const where = `seed ${seed}, cut ${cut} after call ${count} of ${events.length}, transaction ${mark} answered`;
        return { opened, mark, where };
      });
      const found = read(cuts.map(({ opened }) => opened));
      for (const [index, { mark, where }] of cuts.entries()) {
        const { number, entries } = found[index] ?? { number: -1, entries: [] };
        expect(number, where).toBeGreaterThanOrEqual(Number(mark));
        expect(entries, where).toEqual(await expectedAfter(seed, number));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
