/** Makes names in folders durable. Whoever asks while another's sync has not begun shares it. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";

interface FolderSync {
  running: Promise<void>;
  /** Begins when the running one has ended: that one may have begun before the caller's name was there. */
  next: Promise<void> | undefined;
}

export class FolderSyncs {
  readonly #syncs = new Map<string, FolderSync>();
  /** Folders whose own names are durable. */
  readonly #durable = new Set<string>();

  /** Resolves when every name that is in the folder now survives a power cut. */
  sync(folder: string): Promise<void> {
    const known = this.#syncs.get(folder);
    if (known === undefined) return this.#begin(folder);
    known.next ??= known.running.catch(() => {}).then(() => this.#begin(folder));
    return known.next;
  }

  #begin(folder: string): Promise<void> {
    const sync: FolderSync = { running: syncNow(folder), next: undefined };
    this.#syncs.set(folder, sync);
    return sync.running.finally(() => {
      if (sync.next === undefined) this.#syncs.delete(folder);
    });
  }

  /** The name of one folder in another, which does not change once it is durable. */
  async syncOnce(parent: string, folder: string): Promise<void> {
    if (this.#durable.has(folder)) return;
    await this.sync(parent);
    this.#durable.add(folder);
  }

  /** The folder is removed, and may be made again. */
  forget(folder: string): void {
    this.#durable.delete(folder);
  }
}

async function syncNow(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
