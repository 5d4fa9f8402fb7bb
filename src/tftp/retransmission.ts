/**
 * When to send again: the round trip is measured as in RFC 6298 section 2, without samples of what was sent twice (Karn).
 * What is different: the least interval is short, for the EEPROM bootloader gives a file 30 seconds, and one packet in
 * fifty lost must not use them up; and it stays short for the first second of silence, after which bootcode.bin takes a
 * file for missing.
 */
const INTERVAL = {
  /** Before anything was measured. */
  firstMs: 200,
  leastMs: 20,
  /** Of a window a whole one is sent again, to clients that are no firmware. */
  leastOfWindowMs: 200,
  longestMs: 2400,
};
const PATIENCE_OF_FIRMWARE_MS = 1000;
const CLOCK_GRANULARITY_MS = 1;

export interface RetransmissionTerms {
  /** The client's own wish, which is kept to. */
  agreedMs: number | undefined;
  hasWindow: boolean;
  /** Before the first answer, where it is not the usual. */
  firstMs?: number;
}

export class Retransmission {
  readonly #agreedMs: number | undefined;
  readonly #leastMs: number;
  #roundTripMs: number | undefined;
  #variationMs = 0;
  #measuredMs = INTERVAL.firstMs;
  #intervalMs: number;

  constructor({ agreedMs, hasWindow, firstMs = INTERVAL.firstMs }: RetransmissionTerms) {
    this.#agreedMs = agreedMs;
    this.#leastMs = hasWindow ? INTERVAL.leastOfWindowMs : INTERVAL.leastMs;
    this.#intervalMs = agreedMs ?? firstMs;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** The client has answered; after `roundTripMs`, where that can be told. */
  answered(roundTripMs?: number): void {
    if (this.#agreedMs !== undefined) return;
    if (roundTripMs !== undefined) this.#measure(roundTripMs);
    this.#intervalMs = this.#measuredMs;
  }

  #measure(roundTripMs: number): void {
    if (this.#roundTripMs === undefined) {
      this.#roundTripMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
    } else {
      this.#variationMs += (Math.abs(this.#roundTripMs - roundTripMs) - this.#variationMs) / 4;
      this.#roundTripMs += (roundTripMs - this.#roundTripMs) / 8;
    }
    const expectedMs = this.#roundTripMs + Math.max(CLOCK_GRANULARITY_MS, 4 * this.#variationMs);
    this.#measuredMs = Math.min(INTERVAL.firstMs, Math.max(this.#leastMs, expectedMs));
  }

  /** There was no answer, for `silentMs` by now. */
  timedOut(silentMs: number): void {
    if (this.#agreedMs !== undefined) return;
    const longestMs = silentMs < PATIENCE_OF_FIRMWARE_MS ? INTERVAL.firstMs : INTERVAL.longestMs;
    this.#intervalMs = Math.max(this.#intervalMs, Math.min(this.#intervalMs * 2, longestMs));
  }
}
