import type { Clock, Timer } from "../ports.ts";

interface Waiting {
  dueMs: number;
  /** Of those due at the same time the earlier made goes first. */
  sequence: number;
  run: () => void;
  isCancelled: boolean;
}

/** Time that passes only when told: a boot of a minute is over in milliseconds, and the same every time. */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  readonly #startUnixMs: number;
  /** A binary heap: nothing is due before what leads to it. */
  readonly #waiting: Waiting[] = [];
  #sequence = 0;

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
    const dueMs = this.#nowMs + Math.max(0, delayMs);
    const waiting = { dueMs, sequence: this.#sequence++, run, isCancelled: false };
    this.#push(waiting);
    return {
      cancel: () => {
        waiting.isCancelled = true;
      },
    };
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
      if (!this.#runNext(Number.POSITIVE_INFINITY)) throw new Error("Cannot go on: nothing waits for time any more");
    }
  }

  /** Lets so much time pass. */
  async runFor(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    do await letPromisesRun();
    while (this.#runNext(endMs));
    this.#nowMs = endMs;
  }

  /** False when nothing is due by then. */
  #runNext(untilMs: number): boolean {
    let next = this.#waiting[0];
    while (next?.isCancelled) {
      this.#dropFirst();
      next = this.#waiting[0];
    }
    if (next === undefined || next.dueMs > untilMs) return false;
    this.#dropFirst();
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    next.run();
    return true;
  }

  #push(waiting: Waiting): void {
    const heap = this.#waiting;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(waiting, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = waiting;
  }

  #dropFirst(): void {
    const heap = this.#waiting;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(one: Waiting, other: Waiting): boolean {
  return one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.sequence < other.sequence);
}

/** After this, every promise that could go on has gone on. */
function letPromisesRun(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
