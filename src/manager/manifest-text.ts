/** The manifest as text in a file. */
import { readFileSync, realpathSync, statSync } from "node:fs";
import { replaceFileDurably } from "../system/atomic-file.ts";

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file; make one with "bramble init", or name one with --manifest',
  EACCES: "this user may not read it",
  EISDIR: "it is a folder; name the file in it with --manifest",
};

/** Throws an `Error` that says why the file cannot be read. */
export function readManifestText(path: string): string {
  return reading(path, () => readFileSync(path, "utf8"));
}

/** Where the file really is, however it was named. Throws as when it is read. */
export function realManifestPath(path: string): string {
  return reading(path, () => realpathSync(path));
}

function reading(path: string, read: () => string): string {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = READ_ERRORS[code ?? ""] ?? `the system says ${code}`;
    throw new Error(`Cannot read the manifest ${path}: ${why}`, { cause: error });
  }
}

const WRITE_ERRORS: Readonly<Record<string, string>> = {
  EACCES: "this user may not write to its folder",
  EDQUOT: "the disk is full",
  ENOSPC: "the disk is full",
  EPERM: "this user may not write to its folder",
  EROFS: "that file system is read-only",
};

/**
 * Replaces the text for good, in the file itself where the name is a symbolic link to it. Owner and mode stay. Rejects
 * with an `Error` that says why it cannot be written; the old text is still there then.
 */
export async function replaceManifestText(path: string, text: string): Promise<void> {
  try {
    const file = realpathSync(path);
    const { mode, uid, gid } = statSync(file);
    await replaceFileDurably(file, text, { mode: mode & 0o7777, owner: { uid, gid } });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = WRITE_ERRORS[code ?? ""] ?? `the system says ${code}`;
    throw new Error(`Cannot write the manifest ${path}: ${why}; nothing was changed`, { cause: error });
  }
}
