import type { Clock, Timer } from "../ports.ts";

interface Waiting {
  dueMs: number;
  run: () => void;
}

/** Time that passes only when told: a boot of a minute is over in milliseconds, and the same every time. */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  readonly #startUnixMs: number;
  readonly #waiting = new Set<Waiting>();

  constructor(startUnixMs = Date.UTC(2026, 0, 1)) {
    this.#startUnixMs = startUnixMs;
  }

  unixMs(): number {
    return this.#startUnixMs + this.#nowMs;
  }

  unixNs(): bigint {
    return BigInt(Math.round(this.unixMs())) * 1_000_000n;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const waiting = { dueMs: this.#nowMs + Math.max(0, delayMs), run };
    this.#waiting.add(waiting);
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  /** Lets time run, timer by timer, until the promise is settled. Throws when it never will be: no timer is left. */
  async runUntilSettled<Value>(promise: Promise<Value>): Promise<Value> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    promise.then(done, done);
    for (;;) {
      await letPromisesRun();
      if (settled) return promise;
      const next = this.#next();
      if (next === undefined) throw new Error("Cannot go on: nothing waits for time any more");
      this.#waiting.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.run();
    }
  }

  #next(): Waiting | undefined {
    let first: Waiting | undefined;
    for (const waiting of this.#waiting) if (first === undefined || waiting.dueMs < first.dueMs) first = waiting;
    return first;
  }
}

/** After this, every promise that could go on has gone on. */
function letPromisesRun(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
