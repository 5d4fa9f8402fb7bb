/**
 * Procedures are generators that hand out a promise only where they really have to wait. A volume that answers from
 * memory thus has its call answered in one go, without a turn of the microtask queue, and the code still reads
 * from top to bottom:
 *
 *     const attributes = yield* wait(volume.getattr(id));
 */
import type { Awaitable } from "../ports.ts";

export type Task<T> = Generator<Promise<unknown>, T, unknown>;

/** The value itself, after suspending the task only if it is a promise. */
export function wait<T>(value: Awaitable<T>): Iterable<Promise<T>, T, unknown> {
  return new Waiting(value);
}

class Waiting<T> implements Iterator<Promise<T>, T, unknown> {
  readonly #value: Awaitable<T>;
  #isSuspended = false;

  constructor(value: Awaitable<T>) {
    this.#value = value;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(resumedWith?: unknown): IteratorResult<Promise<T>, T> {
    if (this.#isSuspended) return { done: true, value: resumedWith as T };
    if (!(this.#value instanceof Promise)) return { done: true, value: this.#value };
    this.#isSuspended = true;
    return { done: false, value: this.#value };
  }

  throw(error: unknown): never {
    throw error;
  }
}

/** Runs a task: its result at once, or a promise from where it first had to wait. */
export function run<T>(task: Task<T>): Awaitable<T> {
  const step = task.next();
  return step.done === true ? step.value : finish(task, step.value);
}

async function finish<T>(task: Task<T>, firstPromise: Promise<unknown>): Promise<T> {
  let promise = firstPromise;
  for (;;) {
    const step = await promise.then(
      (value) => task.next(value),
      (error: unknown) => task.throw(error),
    );
    if (step.done === true) return step.value;
    promise = step.value;
  }
}
