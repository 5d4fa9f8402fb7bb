interface Round {
  done: Promise<void>;
  /** Begins when this one is done: it may have begun before what the caller wants to be covered. */
  next: Promise<void> | undefined;
}

/** Work on files that covers all that came before it: whoever asks while another's has not begun shares it. */
export class SharedRounds {
  readonly #rounds = new Map<number, Round>();
  readonly #work: (id: number) => Promise<void>;

  constructor(work: (id: number) => Promise<void>) {
    this.#work = work;
  }

  isRunning(id: number): boolean {
    return this.#rounds.has(id);
  }

  /** Resolves when a round that began after this call is done. */
  run(id: number): Promise<void> {
    const running = this.#rounds.get(id);
    if (running === undefined) return this.#begin(id);
    running.next ??= running.done.catch(() => {}).then(() => this.#begin(id));
    return running.next;
  }

  async #begin(id: number): Promise<void> {
    const round: Round = { done: this.#work(id), next: undefined };
    this.#rounds.set(id, round);
    try {
      await round.done;
    } finally {
      if (round.next === undefined) this.#rounds.delete(id);
    }
  }

  /** Resolves when no round is under way, however it ended. */
  async idle(): Promise<void> {
    await Promise.allSettled(Array.from(this.#rounds.values(), ({ done, next }) => next ?? done));
  }
}
