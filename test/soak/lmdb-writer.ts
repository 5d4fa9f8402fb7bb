/**
 * Writes numbered transactions to an LMDB store of ours, several at a time, and notes in a file which were answered.
 * Arguments: folder, seed, number of transactions.
 */
import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Mutation } from "../../src/ports.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { SeededRandom } from "./seeded-random.ts";

const AT_ONCE = 5;
const KEYS = 60;
/** Values above a page get pages of their own. */
const VALUE_BYTES_MAX = 9000;

export const MARKS = "marks";

/** What the transaction of this number does; the same whoever asks. */
export function transaction(seed: number, number: number): Mutation[] {
  const random = new SeededRandom(seed * 100_000 + number);
  const mutations: Mutation[] = [{ put: Buffer.from("number"), value: Buffer.from(String(number)) }];
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    const key = Buffer.from(`key${random.below(KEYS)}`);
    const value = new Uint8Array(random.below(VALUE_BYTES_MAX)).fill(number & 0xff);
    mutations.push(random.chance(0.3) ? { remove: key } : { put: key, value });
  }
  return mutations;
}

async function write(folder: string, seed: number, count: number): Promise<void> {
  const marks = openSync(join(folder, MARKS), "w");
  const store = openLmdbStore(folder);
  const random = new SeededRandom(seed);
  for (let number = 1; number <= count; ) {
    const written: Promise<void>[] = [];
    for (let left = 1 + random.below(AT_ONCE); left > 0 && number <= count; left -= 1, number += 1) {
      const mark = `${number}\n`;
      written.push(store.write(transaction(seed, number)).then(() => void writeSync(marks, mark)));
    }
    await Promise.all(written);
  }
  await store.close();
}

if (process.argv[1] === import.meta.filename) {
  await write(process.argv[2]!, Number(process.argv[3]), Number(process.argv[4]));
}
