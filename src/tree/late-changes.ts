/** Changes that were answered before they are durable: `durability: async`. */
import { LATE_CHANGES_MAX, LATE_COMMIT_MS } from "../limits.ts";
import type { WriteTiming } from "../ports.ts";

export const LATE: WriteTiming = { withinMs: LATE_COMMIT_MS };

export class LateChanges {
  readonly #unfinished = new Set<Promise<void>>();
  readonly #onLoss: () => void;

  /** `onLoss` hears when something that was answered is undone. */
  constructor(onLoss: () => void) {
    this.#onLoss = onLoss;
  }

  /** False: the disk does not keep up, and whoever changes something is to wait for it. */
  get hasRoom(): boolean {
    return this.#unfinished.size < LATE_CHANGES_MAX;
  }

  get isEmpty(): boolean {
    return this.#unfinished.size === 0;
  }

  add(change: Promise<void>): void {
    this.#unfinished.add(change);
    change.catch(this.#onLoss).finally(() => this.#unfinished.delete(change));
  }
}
