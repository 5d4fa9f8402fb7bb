/** `bramble fsck`: opens a state folder to check its trees, also beside a manager that runs on it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type OsImage, openOsImage } from "../disk/os-image.ts";
import { systemClock } from "../system/clock.ts";
import { openDataFiles } from "../system/data-files.ts";
import { lockFile } from "../system/file-lock.ts";
import { openFileSource } from "../system/file-source.ts";
import { replayJournals } from "../system/journal-file.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import {
  checkStore,
  type Finding,
  repairStore,
  type StoreCheckOptions,
  type StoreReport,
} from "../tree/store-check.ts";

/**
 * What changes under the check looks wrong once; what is wrong looks so each time. The database may be a second behind the
 * data files.
 */
const LOOKS_BESIDE_A_MANAGER = 3;
const BETWEEN_LOOKS_MS = 1500;

export interface FolderReport extends StoreReport {
  /** A manager runs: what it changed meanwhile was not taken for wrong. */
  isInUse: boolean;
  /** What `repair` has put right. */
  repaired: Finding[];
}

/** Rejects when there is no store, when it cannot be read at all, and when a manager runs where `repair` is wanted. */
export async function checkStateFolder(stateFolder: string, { repair }: { repair: boolean }): Promise<FolderReport> {
  const trees = join(stateFolder, "trees");
  if (!existsSync(trees)) throw new Error(`Cannot check ${stateFolder}: there are no trees in it yet`);
  // Kept until the end, so that no manager starts meanwhile.
  const lock = await lockFile(join(stateFolder, "workers.lock"), 0, systemClock);
  if (lock === undefined && repair) {
    throw new Error(`Cannot repair ${stateFolder}: a manager runs on it; stop it first`);
  }
  // Beside a manager, what its journals have is not looked at: it is in the database a second later.
  if (lock !== undefined) await replayJournals(trees);
  const keyValueStore = openLmdbStore(trees);
  const images = new Images(stateFolder);
  try {
    const options = {
      keyValueStore,
      dataFiles: openDataFiles(join(stateFolder, "data")),
      clock: systemClock,
      imageOf: (imageId: string, kind: string) => images.open(imageId)?.[kind === "boot" ? "boot" : "root"],
    };
    const report = lock === undefined ? await lastingFindings(options) : checkStore(options);
    const left = repair ? await repairStore(report, options) : report.findings;
    const repaired = report.findings.filter((finding) => !left.includes(finding));
    return { ...report, findings: left, repaired, isInUse: lock === undefined };
  } finally {
    images.close();
    await keyValueStore.close();
    lock?.release();
  }
}

async function lastingFindings(options: StoreCheckOptions): Promise<StoreReport> {
  let report = checkStore(options);
  for (let looks = 1; looks < LOOKS_BESIDE_A_MANAGER && report.findings.length > 0; looks += 1) {
    await pause(BETWEEN_LOOKS_MS);
    const again = checkStore(options);
    const before = new Set(report.findings.map(({ text }) => text));
    report = { ...again, findings: again.findings.filter(({ text }) => before.has(text)) };
  }
  return report;
}

class Images {
  readonly #folder: string;
  readonly #opened = new Map<string, OsImage | undefined>();

  constructor(stateFolder: string) {
    this.#folder = join(stateFolder, "images");
  }

  open(imageId: string): OsImage | undefined {
    if (!this.#opened.has(imageId)) this.#opened.set(imageId, this.#openDisk(imageId));
    return this.#opened.get(imageId);
  }

  #openDisk(imageId: string): OsImage | undefined {
    const path = join(this.#folder, imageId, "disk.img");
    // A damaged tree record may say anything.
    if (!/^[0-9a-f]+$/.test(imageId) || !existsSync(path)) return undefined;
    return openOsImage(openFileSource(path));
  }

  close(): void {
    for (const disk of this.#opened.values()) disk?.close();
  }
}
