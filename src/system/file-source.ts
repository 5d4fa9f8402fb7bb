import { closeSync, fstatSync, openSync, readSync, read as readWithCallback } from "node:fs";
import { promisify } from "node:util";
import { DecodeError } from "../bytes/decode-error.ts";
import type { ByteSource, FileRange } from "../ports.ts";
import { type PageCacheView, viewPageCache } from "./page-cache.ts";
import { readNow } from "./read-now.ts";

const readAsync = promisify(readWithCallback);

/** Opens a plain file for reading. Throws the operating system's error (`ENOENT`, `EACCES`, `EISDIR`). */
export function openFileSource(path: string): FileRange["file"] & ByteSource {
  const descriptor = openSync(path, "r");
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) {
    closeSync(descriptor);
    throw new Error(`Cannot open ${path}: it is not a plain file`);
  }
  return new FileSource(descriptor, path, stat.size);
}

const UNKNOWN: PageCacheView = { has: () => false, close() {} };

class FileSource implements ByteSource {
  readonly sizeBytes: number;
  readonly #path: string;
  #descriptor: number | undefined;
  /** Made when it is first asked for: most files are only imported or looked at. */
  #pages: PageCacheView | undefined;

  constructor(descriptor: number, path: string, sizeBytes: number) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  readSync(target: Uint8Array, offset: number): void {
    const descriptor = this.#checkedDescriptor(target.length, offset);
    for (let filled = 0; filled < target.length; ) {
      const count = readSync(descriptor, target, filled, target.length - filled, offset + filled);
      if (count === 0) throw this.#truncated(target.length, offset);
      filled += count;
    }
  }

  readNow(target: Uint8Array, offset: number): boolean {
    return readNow(this.#checkedDescriptor(target.length, offset), target, offset) === target.length;
  }

  /** To be sent from by others: `undefined` once it is closed. */
  get descriptor(): number | undefined {
    return this.#descriptor;
  }

  rangeNow(offset: number, lengthBytes: number): FileRange | undefined {
    const descriptor = this.#checkedDescriptor(lengthBytes, offset);
    this.#pages ??= viewPageCache(descriptor, this.#path, this.sizeBytes) ?? UNKNOWN;
    return this.#pages.has(offset, lengthBytes) ? { file: this, offset, lengthBytes } : undefined;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const descriptor = this.#checkedDescriptor(target.length, offset);
    for (let filled = 0; filled < target.length; ) {
      const { bytesRead } = await readAsync(descriptor, target, filled, target.length - filled, offset + filled);
      if (bytesRead === 0) throw this.#truncated(target.length, offset);
      filled += bytesRead;
    }
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    this.#pages?.close();
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #checkedDescriptor(lengthBytes: number, offset: number): number {
    if (this.#descriptor === undefined) throw new Error(`Cannot read ${this.#path}: it is closed`);
    if (offset < 0 || offset + lengthBytes > this.sizeBytes) throw this.#truncated(lengthBytes, offset);
    return this.#descriptor;
  }

  #truncated(lengthBytes: number, offset: number): DecodeError {
    return new DecodeError(
      this.#path,
      `bytes ${offset} to ${offset + lengthBytes}`,
      `the image is truncated, it has only ${this.sizeBytes} bytes`,
    );
  }
}
