import type { Clock } from "../ports.ts";

/** Messages waiting for one reader, who waits with a deadline. */
export class Mailbox<Message> {
  readonly #clock: Clock;
  readonly #messages: Message[] = [];
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  put(message: Message): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  /** The next message, or `undefined` when none came before `deadlineMs` of the monotonic clock. */
  async take(deadlineMs: number): Promise<Message | undefined> {
    if (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(Math.max(0, deadlineMs - this.#clock.monotonicMs()), resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
      this.#wake = undefined;
    }
    return this.#messages.shift();
  }
}
