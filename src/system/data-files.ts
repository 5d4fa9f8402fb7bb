/** The data-file port on a folder: sparse files named by layer and file id. */
import {
  closeSync,
  constants,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  rmSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { DataFile, DataFiles } from "../ports.ts";
import { checkRoom, diskSpace, METADATA_RESERVE_BYTES } from "./disk-room.ts";

const NAME = /^[0-9a-f]+(\/[0-9a-f]+)*$/;
const fdatasyncOf = promisify(fdatasync);

/** Files below `folder`, which is made. Throws the operating system's error. */
export function openDataFiles(folder: string): DataFiles {
  mkdirSync(folder, { recursive: true });
  return new FolderDataFiles(folder);
}

class FolderDataFiles implements DataFiles {
  readonly #folder: string;
  /** Files whose names may not be on disk yet. They may be closed and opened again before they are made durable. */
  readonly #newPaths = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  #path(name: string): string {
    if (!NAME.test(name))
      throw new RangeError(`Cannot name a data file ${JSON.stringify(name)}: expected hex digits and /`);
    return join(this.#folder, name);
  }

  open(name: string): DataFile {
    const path = this.#path(name);
    try {
      return this.#opened(path, openSync(path, constants.O_RDWR));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#newPaths.add(path);
    return this.#opened(path, descriptor);
  }

  #opened(path: string, descriptor: number): DataFile {
    return new FolderDataFile(this.#folder, descriptor, path, this.#newPaths);
  }

  remove(name: string): void {
    const path = this.#path(name);
    this.#newPaths.delete(path);
    try {
      unlinkSync(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  removeFolder(name: string): void {
    const path = this.#path(name);
    for (const newPath of this.#newPaths) if (newPath.startsWith(`${path}/`)) this.#newPaths.delete(newPath);
    rmSync(path, { force: true, recursive: true });
  }

  list(folder: string): string[] {
    try {
      return readdirSync(folder === "" ? this.#folder : this.#path(folder)).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { totalBytes, freeBytes } = diskSpace(this.#folder);
    return { totalBytes, freeBytes: Math.max(0, freeBytes - METADATA_RESERVE_BYTES) };
  }
}

class FolderDataFile implements DataFile {
  readonly #folder: string;
  readonly #descriptor: number;
  readonly #path: string;
  readonly #newPaths: Set<string>;

  constructor(folder: string, descriptor: number, path: string, newPaths: Set<string>) {
    this.#folder = folder;
    this.#descriptor = descriptor;
    this.#path = path;
    this.#newPaths = newPaths;
  }

  readSync(target: Uint8Array, offset: number): number {
    let filledBytes = 0;
    while (filledBytes < target.length) {
      const count = readSync(this.#descriptor, target, filledBytes, target.length - filledBytes, offset + filledBytes);
      if (count === 0) break;
      filledBytes += count;
    }
    return filledBytes;
  }

  read(target: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const readOn = (filledBytes: number) => {
        const position = offset + filledBytes;
        read(this.#descriptor, target, filledBytes, target.length - filledBytes, position, (error, count) => {
          if (error) reject(error);
          else if (count === 0 || filledBytes + count === target.length) resolve(filledBytes + count);
          else readOn(filledBytes + count);
        });
      };
      if (target.length === 0) resolve(0);
      else readOn(0);
    });
  }

  writeSync(bytes: Uint8Array, offset: number): void {
    checkRoom(this.#folder, bytes.length, METADATA_RESERVE_BYTES);
    let writtenBytes = 0;
    while (writtenBytes < bytes.length) {
      const left = bytes.length - writtenBytes;
      writtenBytes += writeSync(this.#descriptor, bytes, writtenBytes, left, offset + writtenBytes);
    }
  }

  truncateSync(sizeBytes: number): void {
    ftruncateSync(this.#descriptor, sizeBytes);
  }

  async sync(): Promise<void> {
    await fdatasyncOf(this.#descriptor);
    if (!this.#newPaths.has(this.#path)) return;
    await syncFolder(dirname(this.#path));
    await syncFolder(dirname(dirname(this.#path)));
    this.#newPaths.delete(this.#path);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** A file whose name is not on disk is lost with all its contents. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
