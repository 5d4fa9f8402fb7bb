/** Opens stores one after another, as a manager does that starts, and prints what is in each, a line of JSON for each folder that is named. */
import { replayJournals } from "../../src/system/journal-file.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";

export interface FoundStore {
  number: number;
  entries: string[];
}

/** Those of the transactions. */
export const KEYS = { from: Buffer.from("a"), to: Buffer.from("z") };

export function entriesOf(entries: Iterable<{ key: Uint8Array; value: Uint8Array }>): string[] {
  return Array.from(entries, ({ key, value }) => `${Buffer.from(key)}=${value.length}×${value[0]}`);
}

if (process.argv[1] === import.meta.filename) {
  for (const folder of process.argv.slice(2)) {
    await replayJournals(folder);
    const store = openLmdbStore(folder);
    const number = Number(Buffer.from(store.get(Buffer.from("number")) ?? "0").toString());
    const entries = entriesOf(store.range(KEYS.from, KEYS.to));
    console.log(JSON.stringify({ number, entries } satisfies FoundStore));
    await store.close();
  }
}
