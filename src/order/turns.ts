/** Runs one after the other what takes several steps. What fails holds up nothing that comes after it. */
export class Turn {
  #last: Promise<unknown> = Promise.resolve();

  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** One after the other for each key, and side by side for different ones. */
export class Turns<Key> {
  readonly #turns = new Map<Key, { turn: Turn; pending: number }>();

  async run<Result>(key: Key, work: () => Promise<Result>): Promise<Result> {
    const known = this.#turns.get(key) ?? { turn: new Turn(), pending: 0 };
    this.#turns.set(key, known);
    known.pending += 1;
    try {
      return await known.turn.run(work);
    } finally {
      known.pending -= 1;
      if (known.pending === 0) this.#turns.delete(key);
    }
  }
}
