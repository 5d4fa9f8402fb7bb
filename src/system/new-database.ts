/**
 * A new LMDB database appears whole or not at all. LMDB itself makes it in place and unsynced: after a power cut in that
 * moment one of its two first pages may be missing, and whoever opens that ends with SIGSEGV (lmdb 3.5.6).
 */
import { existsSync, linkSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { open, type RootDatabaseOptionsWithPath } from "lmdb";
import { syncFolderNow } from "./sync-folder.ts";

const FILE = "data.mdb";
const BEGINNING = "new-";

/** Makes the database in `folder` unless it is there. Throws the operating system's error. */
export function makeDatabase(folder: string, options: Omit<RootDatabaseOptionsWithPath, "path">): void {
  if (existsSync(join(folder, FILE))) return;
  const made = mkdtempSync(join(folder, BEGINNING));
  try {
    const database = open<Uint8Array, Uint8Array>(made, options);
    // A commit, which syncs the file with everything that is in it.
    database.putSync(Uint8Array.of(0), Uint8Array.of(0));
    database.removeSync(Uint8Array.of(0));
    linkSync(join(made, FILE), join(folder, FILE));
    syncFolderNow(folder);
    void database.close();
  } catch (error) {
    // Somebody else was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}
