import type { DataFile, DataFiles } from "../ports.ts";

/** Descriptors kept open for all nodes; a process has 1024 unless told otherwise. */
const OPEN_FILES_MAX = 256;

/** Where the contents of a layer's files lie. */
export function dataFolder(layerId: number): string {
  return layerId.toString(16);
}

/** Of a name beside others: `lost+found` lies there too, when it is a disk of its own. */
export function layerOfFolder(folder: string): number | undefined {
  return /^[0-9a-f]{1,8}$/.test(folder) ? Number.parseInt(folder, 16) : undefined;
}

/** Where the contents of a layer's file lie. */
export function dataFileName(layerId: number, id: number): string {
  return `${dataFolder(layerId)}/${id.toString(16)}`;
}

/** A data file while it is open. */
export interface OpenFile {
  readonly file: DataFile;
  /**
   * Holds nothing beyond what its record tells. After a crash a data file may be longer: unstable writes that nobody was
   * promised. Cut off before the first write, or they would show when the file grows.
   */
  isTrimmed: boolean;
}

interface Entry {
  opening: Promise<OpenFile> | undefined;
  open: OpenFile | undefined;
  users: number;
  /** Out of the table: to be closed by its last user. */
  discarded: boolean;
}

/** Data files kept open while they are used, the least recently used closed first, none under its users. */
export class OpenDataFiles {
  readonly dataFiles: DataFiles;
  /** How often written data were lost by a failing disk: clients are to send again what was not committed. */
  lossCount = 0;
  readonly #entries = new Map<string, Entry>();

  constructor(dataFiles: DataFiles) {
    this.dataFiles = dataFiles;
  }

  /** Runs with the file open. Rejects with ENOENT when it is not there, unless it is to be made. */
  async use<T>(name: string, how: { make: boolean }, run: (file: OpenFile) => Promise<T>): Promise<T> {
    const entry = this.#entry(name, how);
    entry.users += 1;
    try {
      return await run(entry.open ?? (await entry.opening!));
    } finally {
      entry.users -= 1;
      this.#closeUnused(entry);
    }
  }

  #entry(name: string, how: { make: boolean }): Entry {
    const known = this.#entries.get(name);
    // Who waits for one that need not be there cannot be joined by somebody who needs it.
    if (known !== undefined && (known.open !== undefined || !how.make)) {
      this.#entries.delete(name);
      this.#entries.set(name, known);
      return known;
    }
    if (known !== undefined) this.#discard(name);
    const entry: Entry = { opening: undefined, open: undefined, users: 0, discarded: false };
    this.#entries.set(name, entry);
    entry.opening = this.#open(name, how, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= OPEN_FILES_MAX || oldest === name) break;
      this.#discard(oldest);
    }
    return entry;
  }

  async #open(name: string, how: { make: boolean }, entry: Entry): Promise<OpenFile> {
    try {
      const file = await this.dataFiles.open(name, how);
      entry.open = { file, isTrimmed: file.isNew };
      return entry.open;
    } catch (error) {
      if (this.#entries.get(name) === entry) this.#entries.delete(name);
      throw error;
    }
  }

  #closeUnused(entry: Entry): void {
    if (entry.users === 0 && entry.discarded) entry.open?.file.close();
  }

  #discard(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    entry.discarded = true;
    this.#closeUnused(entry);
  }

  readSync(name: string, target: Uint8Array, offset: number): number {
    const open = this.#entries.get(name)?.open;
    return open === undefined ? this.dataFiles.readSync(name, target, offset) : open.file.readSync(target, offset);
  }

  /** The file may now hold more than its record tells. */
  untrim(name: string): void {
    const open = this.#entries.get(name)?.open;
    if (open !== undefined) open.isTrimmed = false;
  }

  remove(name: string): Promise<void> {
    this.#discard(name);
    return this.dataFiles.remove(name);
  }

  /** Lets go of a layer's files, so that the disk has their room when they are removed. */
  closeFolder(folder: string): void {
    this.#discardBelow(`${folder}/`);
  }

  closeAll(): void {
    this.#discardBelow("");
  }

  #discardBelow(prefix: string): void {
    for (const name of [...this.#entries.keys()]) if (name.startsWith(prefix)) this.#discard(name);
  }
}
