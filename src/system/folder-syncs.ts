/** Makes names in folders durable. Whoever asks while another's sync has not begun shares it. */
import { SharedRounds } from "../order/shared-rounds.ts";
import { syncFolder } from "./sync-folder.ts";

export class FolderSyncs {
  readonly #syncs = new SharedRounds(syncFolder);
  /** Folders whose own names are durable. */
  readonly #durable = new Set<string>();

  /** Resolves when every name that is in the folder now survives a power cut. */
  sync(folder: string): Promise<void> {
    return this.#syncs.run(folder);
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
