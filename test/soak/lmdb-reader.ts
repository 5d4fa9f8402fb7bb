/** Opens stores one after another and prints what is in each, a line of JSON for each folder that is named. */
import { openLmdbStore } from "../../src/system/lmdb-store.ts";

export interface FoundStore {
  number: number;
  entries: string[];
}

export function entriesOf(entries: Iterable<{ key: Uint8Array; value: Uint8Array }>): string[] {
  return Array.from(entries, ({ key, value }) => `${Buffer.from(key)}=${value.length}×${value[0]}`);
}

if (process.argv[1] === import.meta.filename) {
  for (const folder of process.argv.slice(2)) {
    const store = openLmdbStore(folder);
    const number = Number(Buffer.from(store.get(Buffer.from("number")) ?? "0").toString());
    const entries = entriesOf(store.range(Uint8Array.of(0), Uint8Array.of(0xff)));
    console.log(JSON.stringify({ number, entries } satisfies FoundStore));
    await store.close();
  }
}
