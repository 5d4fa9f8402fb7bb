import { closeSync, fstatSync, openSync, readSync, read as readWithCallback } from "node:fs";
import { promisify } from "node:util";
import { DecodeError } from "../bytes/decode-error.ts";
import type { ByteSource } from "../ports.ts";
import { readNow } from "./read-now.ts";

const readAsync = promisify(readWithCallback);

/** Opens a plain file for reading. Throws the operating system's error (`ENOENT`, `EACCES`, `EISDIR`). */
export function openFileSource(path: string): ByteSource {
  const descriptor = openSync(path, "r");
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) {
    closeSync(descriptor);
    throw new Error(`Cannot open ${path}: it is not a plain file`);
  }
  return new FileSource(descriptor, path, stat.size);
}

class FileSource implements ByteSource {
  readonly sizeBytes: number;
  readonly #path: string;
  #descriptor: number | undefined;

  constructor(descriptor: number, path: string, sizeBytes: number) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  readSync(target: Uint8Array, offset: number): void {
    const descriptor = this.#checkedDescriptor(target, offset);
    for (let filled = 0; filled < target.length; ) {
      const count = readSync(descriptor, target, filled, target.length - filled, offset + filled);
      if (count === 0) throw this.#truncated(target, offset);
      filled += count;
    }
  }

  readNow(target: Uint8Array, offset: number): boolean {
    return readNow(this.#checkedDescriptor(target, offset), target, offset) === target.length;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const descriptor = this.#checkedDescriptor(target, offset);
    for (let filled = 0; filled < target.length; ) {
      const { bytesRead } = await readAsync(descriptor, target, filled, target.length - filled, offset + filled);
      if (bytesRead === 0) throw this.#truncated(target, offset);
      filled += bytesRead;
    }
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #checkedDescriptor(target: Uint8Array, offset: number): number {
    if (this.#descriptor === undefined) throw new Error(`Cannot read ${this.#path}: it is closed`);
    if (offset < 0 || offset + target.length > this.sizeBytes) throw this.#truncated(target, offset);
    return this.#descriptor;
  }

  #truncated(target: Uint8Array, offset: number): DecodeError {
    return new DecodeError(
      this.#path,
      `bytes ${offset} to ${offset + target.length}`,
      `the image is truncated, it has only ${this.sizeBytes} bytes`,
    );
  }
}
