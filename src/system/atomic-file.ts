import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncFolder, syncFolderNow } from "./sync-folder.ts";

/**
 * Replaces a file so that a reader, or a power cut, finds the old contents or the new, never a part:
 * temporary file, fsync, rename, fsync of the folder.
 */
export function writeFileAtomically(path: string, content: string | Uint8Array, mode = 0o644): void {
  replaceFile(path, content, mode, fsyncSync);
  syncFolderNow(dirname(path));
}

/** The same for a file that can be made anew: a reader finds all or nothing, but a power cut may leave it empty. */
export function replaceFileUnsynced(path: string, content: string | Uint8Array, mode = 0o644): void {
  replaceFile(path, content, mode, () => {});
}

function replaceFile(
  path: string,
  content: string | Uint8Array,
  mode: number,
  beforeRename: (file: number) => void,
): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = temporaryOf(path);
  try {
    // Never through what somebody else has put at that name.
    rmSync(temporary, { force: true });
    const file = openSync(temporary, "wx", mode);
    try {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
      beforeRename(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** As `writeFileAtomically`, but while the disk works the event loop goes on. Keeps the mode as given, whatever the umask. */
export async function replaceFileDurably(
  path: string,
  content: string | Uint8Array,
  { mode, owner }: { mode: number; owner?: { uid: number; gid: number } },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = temporaryOf(path);
  try {
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", mode);
    try {
      // Nobody but root may give files away.
      if (owner && process.geteuid?.() === 0) await file.chown(owner.uid, owner.gid);
      await file.chmod(mode);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
}
