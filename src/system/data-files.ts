/**
 * The data-file port on a folder: sparse files named by layer and file id. Calls that may wait for the disk run in
 * libuv's threads; only small reads by name, and what is done at the start or for a whole layer, do not.
 */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  ftruncate,
  mkdirSync,
  open,
  openSync,
  read,
  readdirSync,
  readSync,
  rmSync,
  unlink,
  writev,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { DataFile, DataFiles } from "../ports.ts";
import { checkRoom, diskSpace, METADATA_RESERVE_BYTES } from "./disk-room.ts";
import { FolderSyncs } from "./folder-syncs.ts";

const NAME = /^[0-9a-f]+(\/[0-9a-f]+)*$/;
const [openFile, unlinkFile] = [promisify(open), promisify(unlink)];
const [fdatasyncOf, ftruncateOf] = [promisify(fdatasync), promisify(ftruncate)];

/** Files below `folder`, which is made. Throws the operating system's error. */
export function openDataFiles(folder: string): DataFiles {
  mkdirSync(folder, { recursive: true });
  return new FolderDataFiles(folder);
}

class FolderDataFiles implements DataFiles {
  readonly #folder: string;
  /** Files whose names may not be on disk yet. They may be closed and opened again before they are made durable. */
  readonly #newPaths = new Set<string>();
  readonly #folderSyncs = new FolderSyncs();

  constructor(folder: string) {
    this.#folder = folder;
  }

  #path(name: string): string {
    if (!NAME.test(name))
      throw new RangeError(`Cannot name a data file ${JSON.stringify(name)}: expected hex digits and /`);
    return join(this.#folder, name);
  }

  async open(name: string, { make }: { make: boolean }): Promise<DataFile> {
    const path = this.#path(name);
    try {
      return this.#opened(path, await openFile(path, constants.O_RDWR), false);
    } catch (error) {
      if (!make || !isMissing(error)) throw error;
    }
    // Before it is there: whoever removes it while it is made forgets it.
    this.#newPaths.add(path);
    const isMade = constants.O_RDWR | constants.O_CREAT;
    try {
      return this.#opened(path, await openFile(path, isMade, 0o600), true);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return this.#opened(path, await openFile(path, isMade, 0o600), true);
  }

  #opened(path: string, descriptor: number, isNew: boolean): DataFile {
    return new FolderDataFile(this.#folder, descriptor, isNew, () => this.#syncName(path));
  }

  /** A file whose name is not on disk is lost with all its contents. */
  async #syncName(path: string): Promise<void> {
    if (!this.#newPaths.has(path)) return;
    await this.#folderSyncs.sync(dirname(path));
    await this.#folderSyncs.syncOnce(dirname(dirname(path)), dirname(path));
    this.#newPaths.delete(path);
  }

  readSync(name: string, target: Uint8Array, offset: number): number {
    const descriptor = openSync(this.#path(name), constants.O_RDONLY);
    try {
      return readWholeSync(descriptor, target, offset);
    } finally {
      closeSync(descriptor);
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    this.#newPaths.delete(path);
    try {
      await unlinkFile(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  removeFolder(name: string): void {
    const path = this.#path(name);
    for (const newPath of this.#newPaths) if (newPath.startsWith(`${path}/`)) this.#newPaths.delete(newPath);
    this.#folderSyncs.forget(path);
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
  readonly isNew: boolean;
  readonly #folder: string;
  readonly #descriptor: number;
  readonly #syncName: () => Promise<void>;

  constructor(folder: string, descriptor: number, isNew: boolean, syncName: () => Promise<void>) {
    this.isNew = isNew;
    this.#folder = folder;
    this.#descriptor = descriptor;
    this.#syncName = syncName;
  }

  readSync(target: Uint8Array, offset: number): number {
    return readWholeSync(this.#descriptor, target, offset);
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

  async write(parts: readonly Uint8Array[], offset: number): Promise<void> {
    let left = parts.filter((part) => part.length > 0);
    checkRoom(this.#folder, lengthOf(left), METADATA_RESERVE_BYTES);
    let position = offset;
    while (left.length > 0) {
      const countBytes = await this.#writeSome(left, position);
      position += countBytes;
      left = withoutFirst(left, countBytes);
    }
  }

  #writeSome(parts: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.#descriptor, parts, position, (error, countBytes) => (error ? reject(error) : resolve(countBytes)));
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    return ftruncateOf(this.#descriptor, sizeBytes);
  }

  async sync(): Promise<void> {
    await fdatasyncOf(this.#descriptor);
    await this.#syncName();
  }

  close(): void {
    close(this.#descriptor, () => {});
  }
}

function readWholeSync(descriptor: number, target: Uint8Array, offset: number): number {
  let filledBytes = 0;
  while (filledBytes < target.length) {
    const count = readSync(descriptor, target, filledBytes, target.length - filledBytes, offset + filledBytes);
    if (count === 0) break;
    filledBytes += count;
  }
  return filledBytes;
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function withoutFirst(parts: readonly Uint8Array[], countBytes: number): Uint8Array[] {
  let skipBytes = countBytes;
  const left: Uint8Array[] = [];
  for (const part of parts) {
    if (skipBytes < part.length) left.push(skipBytes === 0 ? part : part.subarray(skipBytes));
    skipBytes = Math.max(0, skipBytes - part.length);
  }
  return left;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
