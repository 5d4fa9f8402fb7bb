/**
 * The journals beside a database: one file for each process that writes nodes' trees. Opening a store behind its journal
 * first gives it what the journal has and the store does not; who reads without writing nodes' trees has to replay all.
 */
import { close, constants, existsSync, open, readdirSync, write } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { JOURNAL_BYTES_MAX } from "../limits.ts";
import type { KeyValueStore } from "../ports.ts";
import { replaceFileDurably } from "./atomic-file.ts";
import { systemClock } from "./clock.ts";
import { checkRoom, METADATA_RESERVE_BYTES } from "./disk-room.ts";
import { appliedNumber, JournaledStore, replayJournal } from "./journaled-store.ts";
import { checkCommitRoom, openLmdbStore } from "./lmdb-store.ts";
import { systemRandom } from "./random.ts";
import { type JournalFile, StoreJournal } from "./store-journal.ts";

/** A half takes more than the store is given at a time; and the first nodes stay within 1 MiB each with it. */
const FILE_BYTES = 768 * 1024;
const FILE_NAME = /^journal-([0-9a-z]+)$/;
const [openDescriptor, closeDescriptor] = [promisify(open), promisify(close)];

/**
 * Opens (or makes) the database in `folder` behind the journal of this name, `[0-9a-z]+`, or without one where the disk is
 * too full to make it. Only one process may have the journal open. Rejects with the operating system's error, and when the
 * journal is damaged.
 */
export async function openJournaledStore(
  folder: string,
  journalName: string,
  sizeBytes = FILE_BYTES,
): Promise<KeyValueStore> {
  const path = join(folder, `journal-${journalName}`);
  const store = openLmdbStore(folder);
  try {
    if (existsSync(path)) await replay(store, path, journalName);
    const file = await openJournalFile(path, sizeBytes);
    const journal = new StoreJournal({
      file,
      sizeBytes,
      random: systemRandom,
      appliedNumber: appliedNumber(store, journalName),
    });
    return new JournaledStore({
      store,
      journal,
      journalName,
      clock: systemClock,
      checkRoom: (size) => checkCommitRoom(folder, size),
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC" && !existsSync(path)) return store;
    await store.close();
    throw error;
  }
}

/** Gives the database in `folder` all that its journals have. No process that writes one may run. */
export async function replayJournals(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const names = readdirSync(folder).flatMap((file) => FILE_NAME.exec(file)?.[1] ?? []);
  if (names.length === 0) return;
  const store = openLmdbStore(folder);
  try {
    for (const name of names) await replay(store, join(folder, `journal-${name}`), name);
  } finally {
    await store.close();
  }
}

async function replay(store: KeyValueStore, path: string, name: string): Promise<void> {
  const { size } = await stat(path);
  if (size > JOURNAL_BYTES_MAX) {
    throw new Error(`Cannot read the journal ${path}: it has ${size} bytes, more than ${JOURNAL_BYTES_MAX}`);
  }
  await replayJournal(store, await readFile(path), name, path);
}

/**
 * Makes the file, unless it is there with every block in its place: a write that has to find one costs several flushes.
 * What was in it is applied.
 */
async function openJournalFile(path: string, sizeBytes: number): Promise<JournalFile> {
  const found = await stat(path).catch(() => undefined);
  const isWhole = found?.size === sizeBytes && found.blocks * 512 >= sizeBytes;
  if (!isWhole) {
    checkRoom(dirname(path), sizeBytes, METADATA_RESERVE_BYTES);
    await replaceFileDurably(path, Buffer.alloc(sizeBytes), { mode: 0o600 });
  }
  return new DescriptorFile(await openDescriptor(path, constants.O_RDWR | constants.O_DSYNC));
}

class DescriptorFile implements JournalFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  write(bytes: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const writeOn = (done: number) => {
        write(this.#descriptor, bytes, done, bytes.length - done, offset + done, (error, count) => {
          if (error) reject(error);
          else if (done + count === bytes.length) resolve();
          else writeOn(done + count);
        });
      };
      writeOn(0);
    });
  }

  close(): Promise<void> {
    return closeDescriptor(this.#descriptor);
  }
}
