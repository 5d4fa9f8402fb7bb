/** The storage ports made out of memory: for tests, for trees that need not outlive the program, and as the model of the real ones. */
import type { DataFile, DataFiles, KeyValueStore, Mutation } from "../ports.ts";

/** A promise is resolved in a later microtask, so that callers cannot come to rely on less. */
export class MemoryStore implements KeyValueStore {
  #entries = new Map<string, Uint8Array>();

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.#entries.get(textOf(key));
    return value && new Uint8Array(value);
  }

  *range(from: Uint8Array, to: Uint8Array): Generator<{ key: Uint8Array; value: Uint8Array }> {
    for (const text of this.#keysBetween(from, to)) {
      yield { key: Buffer.from(text, "latin1"), value: new Uint8Array(this.#entries.get(text)!) };
    }
  }

  /** Bytes as latin1 characters sort as the bytes do. */
  #keysBetween(from: Uint8Array, to: Uint8Array): string[] {
    const [first, end] = [textOf(from), textOf(to)];
    return [...this.#entries.keys()].filter((text) => text >= first && text < end).sort();
  }

  async write(mutations: readonly Mutation[]): Promise<void> {
    for (const mutation of mutations) {
      if ("put" in mutation) this.#entries.set(textOf(mutation.put), new Uint8Array(mutation.value));
      else if ("remove" in mutation) this.#entries.delete(textOf(mutation.remove));
      else {
        const { from, to } = mutation.removeRange;
        for (const text of this.#keysBetween(from, to)) this.#entries.delete(text);
      }
    }
  }

  async flush(): Promise<void> {}

  catchUp(): void {}

  async close(): Promise<void> {}
}

export class MemoryDataFiles implements DataFiles {
  readonly #files = new Map<string, MemoryDataFile>();

  async open(name: string, { make }: { make: boolean }): Promise<DataFile> {
    const known = this.#files.get(name);
    if (known !== undefined) return known.openedAgain();
    if (!make) throw missing(name);
    const file = new MemoryDataFile(new MemoryContent(), true);
    this.#files.set(name, file);
    return file;
  }

  readSync(name: string, target: Uint8Array, offset: number): number {
    const file = this.#files.get(name);
    if (file === undefined) throw missing(name);
    return file.readSync(target, offset);
  }

  async remove(name: string): Promise<void> {
    this.#files.delete(name);
  }

  removeFolder(name: string): void {
    for (const path of this.#files.keys()) if (path.startsWith(`${name}/`)) this.#files.delete(path);
  }

  list(folder: string): string[] {
    const prefix = folder === "" ? "" : `${folder}/`;
    const inside = [...this.#files.keys()].filter((path) => path.startsWith(prefix));
    return [...new Set(inside.map((path) => path.slice(prefix.length).split("/")[0]!))].sort();
  }

  space(): { totalBytes: number; freeBytes: number } {
    return { totalBytes: 2 ** 40, freeBytes: 2 ** 39 };
  }
}

function missing(name: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, open '${name}'`), { code: "ENOENT" });
}

class MemoryDataFile implements DataFile {
  readonly isNew: boolean;
  readonly #content: MemoryContent;

  constructor(content: MemoryContent, isNew: boolean) {
    this.#content = content;
    this.isNew = isNew;
  }

  openedAgain(): MemoryDataFile {
    return new MemoryDataFile(this.#content, false);
  }

  readSync(target: Uint8Array, offset: number): number {
    return this.#content.read(target, offset);
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    return this.#content.read(target, offset);
  }

  async write(parts: readonly Uint8Array[], offset: number): Promise<void> {
    let position = offset;
    for (const part of parts) {
      this.#content.write(part, position);
      position += part.length;
    }
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#content.truncate(sizeBytes);
  }

  async sync(): Promise<void> {}

  close(): void {}
}

/** Bytes that grow. */
export class MemoryContent {
  #bytes = new Uint8Array(0);
  #sizeBytes = 0;

  copy(): MemoryContent {
    const copy = new MemoryContent();
    copy.#bytes = this.#bytes.slice(0, this.#sizeBytes);
    copy.#sizeBytes = this.#sizeBytes;
    return copy;
  }

  read(target: Uint8Array, offset: number): number {
    const countBytes = Math.max(0, Math.min(target.length, this.#sizeBytes - offset));
    target.set(this.#bytes.subarray(offset, offset + countBytes));
    return countBytes;
  }

  write(bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.length;
    if (end > this.#sizeBytes) this.truncate(end);
    this.#bytes.set(bytes, offset);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(sizeBytes, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#sizeBytes));
      this.#bytes = grown;
    }
    this.#bytes.fill(0, sizeBytes, Math.max(sizeBytes, this.#sizeBytes));
    this.#sizeBytes = sizeBytes;
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}
