/**
 * Whose block leaves next when the network takes no more than so many bytes at a time: the kernel's send buffer is the bound on
 * what is in flight, and behind it clients wait here, one block each in turn. So a client with a large window gets no more than
 * one without, and all nodes of a rack make progress. Of four turns three go to the transfers that have taken long, the
 * oldest first: firmware gives a file 30 seconds, and should the network be too slow for all, some come through.
 */

export interface Sender {
  readonly startedAtMs: number;
  /** Sends one block. False when there is none to send before something happens. */
  sendNext(nowMs: number): boolean;
}

/** A third of what the EEPROM bootloader gives a file. */
const LATE_AFTER_MS = 10_000;
const TURNS_OF_LATE = 3;

export class SendOrder {
  readonly #port: { readonly isFull: boolean };
  /** In the order of their turns. */
  readonly #waiting = new Set<Sender>();
  readonly #late = new Set<Sender>();
  #turnsOfLate = 0;

  constructor(port: { readonly isFull: boolean }) {
    this.#port = port;
  }

  get waitingCount(): number {
    return this.#waiting.size + this.#late.size;
  }

  /** The sender has blocks to send: they leave at once, if nobody waits. */
  add(sender: Sender, nowMs: number): void {
    const isAlone = this.waitingCount === 0;
    while (isAlone && !this.#port.isFull) if (!sender.sendNext(nowMs)) return;
    this.#wait(sender, nowMs);
  }

  /** Its transfer is over. */
  remove(sender: Sender): void {
    this.#waiting.delete(sender);
    this.#late.delete(sender);
  }

  /** The network takes more. */
  goOn(nowMs: number): void {
    while (!this.#port.isFull) {
      const sender = this.#takeNext();
      if (!sender) return;
      if (sender.sendNext(nowMs)) this.#wait(sender, nowMs);
    }
  }

  #wait(sender: Sender, nowMs: number): void {
    if (nowMs - sender.startedAtMs < LATE_AFTER_MS) this.#waiting.add(sender);
    else if (!this.#waiting.has(sender)) this.#late.add(sender);
  }

  #takeNext(): Sender | undefined {
    const isTurnOfLate = this.#late.size > 0 && (this.#waiting.size === 0 || this.#turnsOfLate < TURNS_OF_LATE);
    this.#turnsOfLate = isTurnOfLate ? this.#turnsOfLate + 1 : 0;
    const next = isTurnOfLate ? oldestOf(this.#late) : this.#waiting.values().next().value;
    if (next) this.remove(next);
    return next;
  }
}

function oldestOf(senders: Iterable<Sender>): Sender | undefined {
  let oldest: Sender | undefined;
  for (const sender of senders) if (oldest === undefined || sender.startedAtMs < oldest.startedAtMs) oldest = sender;
  return oldest;
}
