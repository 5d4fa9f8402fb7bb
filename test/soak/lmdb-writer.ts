/**
 * Writes numbered transactions to an LMDB store behind a journal, several at a time, and notes in a file which were
 * answered.
 * Arguments: folder, seed, number of transactions.
 */
import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Mutation } from "../../src/ports.ts";
import { openJournaledStore } from "../../src/system/journal-file.ts";
import { SeededRandom } from "./seeded-random.ts";

const AT_ONCE = 5;
const KEYS = 60;
/** Values above a page get pages of their own. */
const VALUE_BYTES_MAX = 9000;

/** How often LMDB is brought up to date beside the times when it must. */
const FLUSHES = 0.2;

export const MARKS = "marks";
export const JOURNAL = "1";
/** It is begun again every few transactions, and some are too large for it. */
export const JOURNAL_BYTES = 64 * 1024;

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
  const store = await openJournaledStore(folder, JOURNAL, JOURNAL_BYTES);
  const random = new SeededRandom(seed);
  for (let number = 1; number <= count; ) {
    const written: Promise<void>[] = [];
    for (let left = 1 + random.below(AT_ONCE); left > 0 && number <= count; left -= 1, number += 1) {
      const mark = `${number}\n`;
      written.push(store.write(transaction(seed, number)).then(() => void writeSync(marks, mark)));
    }
    if (random.chance(FLUSHES)) void store.flush();
    await Promise.all(written);
  }
  await store.close();
}

if (process.argv[1] === import.meta.filename) {
  await write(process.argv[2]!, Number(process.argv[3]), Number(process.argv[4]));
}
