import { Latch } from "./latch.ts";

interface Round {
  /** Resolves however it ended. */
  ended: Promise<void>;
  /** Begins when this one is done: it may have begun before what the caller wants to be covered. */
  next: Promise<void> | undefined;
}

/** Work that covers all that came before it, key by key: whoever asks while another's has not begun shares it. */
export class SharedRounds<Key> {
  readonly #rounds = new Map<Key, Round>();
  readonly #work: (key: Key) => Promise<void>;

  constructor(work: (key: Key) => Promise<void>) {
    this.#work = work;
  }

  isRunning(key: Key): boolean {
    return this.#rounds.has(key);
  }

  /** Resolves when a round that began after this call is done. */
  run(key: Key): Promise<void> {
    const running = this.#rounds.get(key);
    if (running === undefined) return this.#begin(key);
    running.next ??= running.ended.then(() => this.#begin(key));
    return running.next;
  }

  async #begin(key: Key): Promise<void> {
    const latch = new Latch();
    const round: Round = { ended: latch.opened, next: undefined };
    // Before the work: who asks from within it would begin a second round beside this one.
    this.#rounds.set(key, round);
    try {
      await this.#work(key);
    } finally {
      if (round.next === undefined) this.#rounds.delete(key);
      latch.open();
    }
  }

  /** Resolves when no round is under way, however it ended. */
  async idle(): Promise<void> {
    await Promise.allSettled(Array.from(this.#rounds.values(), ({ ended, next }) => next ?? ended));
  }
}
