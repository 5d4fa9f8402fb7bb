import type { Awaitable, DataFile, DataFiles } from "../ports.ts";

/** Descriptors kept open for all nodes; a process has 1024 unless told otherwise. */
const OPEN_FILES_MAX = 256;

interface OpenFile {
  file: DataFile;
  users: number;
  /** Out of the table: to be closed by its last user. */
  discarded: boolean;
}

/** Data files kept open while they are used, the least recently used closed first, none under a running read. */
export class OpenDataFiles {
  readonly dataFiles: DataFiles;
  readonly #open = new Map<string, OpenFile>();

  constructor(dataFiles: DataFiles) {
    this.dataFiles = dataFiles;
  }

  /** Runs with the file open; `onOpen` first if it was not. */
  use<T>(name: string, onOpen: (file: DataFile) => void, run: (file: DataFile) => Awaitable<T>): Awaitable<T> {
    const entry = this.#entry(name, onOpen);
    entry.users += 1;
    let result: Awaitable<T>;
    try {
      result = run(entry.file);
    } catch (error) {
      this.#leave(entry);
      throw error;
    }
    if (result instanceof Promise) return result.finally(() => this.#leave(entry));
    this.#leave(entry);
    return result;
  }

  #entry(name: string, onOpen: (file: DataFile) => void): OpenFile {
    const known = this.#open.get(name);
    if (known !== undefined) {
      this.#open.delete(name);
      this.#open.set(name, known);
      return known;
    }
    const entry = { file: this.dataFiles.open(name), users: 0, discarded: false };
    try {
      onOpen(entry.file);
    } catch (error) {
      entry.file.close();
      throw error;
    }
    this.#open.set(name, entry);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= OPEN_FILES_MAX || oldest === name) break;
      this.#discard(oldest);
    }
    return entry;
  }

  #leave(entry: OpenFile): void {
    entry.users -= 1;
    if (entry.users === 0 && entry.discarded) entry.file.close();
  }

  #discard(name: string): void {
    const entry = this.#open.get(name);
    if (entry === undefined) return;
    this.#open.delete(name);
    entry.discarded = true;
    if (entry.users === 0) entry.file.close();
  }

  remove(name: string): void {
    this.#discard(name);
    this.dataFiles.remove(name);
  }

  removeFolder(folder: string): void {
    this.#discardBelow(`${folder}/`);
    this.dataFiles.removeFolder(folder);
  }

  closeAll(): void {
    this.#discardBelow("");
  }

  #discardBelow(prefix: string): void {
    for (const name of [...this.#open.keys()]) if (name.startsWith(prefix)) this.#discard(name);
  }
}
