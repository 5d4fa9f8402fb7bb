/**
 * Transfers on their way to their turn: what `Admission` decides is done here, with what the network and this process show.
 */
import { Admission, type Load } from "./admission.ts";

export interface Guest {
  readonly load: Load;
  /** How long its client hears nothing while it waits. */
  readonly waitingBlockMs: number;
  /** It may send as fast as the network takes it; or, if it still has to wait, a block. */
  goOn(nowMs: number): void;
}

export interface WaitingRoomOptions {
  nowMs: number;
  /** What has been sent and not left this machine. */
  queuedBytes(): number;
  /** Which part of the time since the last call this process was busy, 0 to 1. */
  busyPart(): number;
}

const REVIEW_MS = 500;
/** A process that is busy for longer has packets waiting for it. */
const BUSY_PART = 0.9;
/** A queue that is never shorter is that of a line that is full: some ten frames. */
const STANDING_QUEUE_BYTES = 16_384;

export class WaitingRoom {
  readonly #options: WaitingRoomOptions;
  readonly #admission: Admission;
  /** Those who wait, and when they get their next block all the same. */
  readonly #waiting = new Map<Guest, number>();
  #reviewAtMs = 0;
  #sentBytes = 0;
  /** The shortest queue since the last review. */
  #leastQueuedBytes = Number.POSITIVE_INFINITY;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
    this.#admission = new Admission(options.nowMs);
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes;
  }

  /** It has blocks to send. */
  askForTurn(guest: Guest, nowMs: number): void {
    if (this.#admission.mustWait(guest.load, nowMs)) this.#waiting.set(guest, nowMs + guest.waitingBlockMs);
    else guest.goOn(nowMs);
  }

  remove(guest: Guest): void {
    this.#waiting.delete(guest);
  }

  /** To be called every few milliseconds while something is running. */
  tick(running: ReadonlySet<Guest>, nowMs: number): void {
    this.#leastQueuedBytes = Math.min(this.#leastQueuedBytes, this.#options.queuedBytes());
    if (nowMs < this.#reviewAtMs) return;
    this.#reviewAtMs = nowMs + REVIEW_MS;
    const isBusy = this.#options.busyPart() >= BUSY_PART;
    const isSaturated = isBusy || this.#leastQueuedBytes >= STANDING_QUEUE_BYTES;
    const loads = Array.from(running, ({ load }) => load);
    this.#admission.review({ running: loads, sentBytes: this.#sentBytes, isSaturated }, nowMs);
    this.#leastQueuedBytes = Number.POSITIVE_INFINITY;
    this.#sentBytes = 0;
    for (const [guest, turnAtMs] of this.#waiting) {
      if (nowMs < turnAtMs && this.#admission.mustWait(guest.load, nowMs)) continue;
      this.#waiting.delete(guest);
      guest.goOn(nowMs);
    }
  }
}
