/**
 * When an offer goes out to firmware that needs more than one packet at once. The boot ROM of the Pi 3B takes an offer only
 * if more frames reach it while it waits, and takes the offer of any other board for its own: so it gets frames that mean
 * nothing after it, and the offers of two boards keep apart. What is needed by whom is the caller's to know.
 */
import type { Mac } from "../bytes/addresses.ts";
import type { Clock, Timer } from "../ports.ts";

/** What one firmware needs beyond RFC 2131 and PXE. */
export interface FirmwareNeeds {
  /** Offers go to its hardware address only, whatever its flags say. */
  toMacOnly: boolean;
  /** Option 43 says where to boot from, without option 66. */
  menuOnly: boolean;
  /** When frames must reach it, in milliseconds after its DISCOVER. */
  nudgesAtMs: readonly number[];
  /** What lies at least between the offers to two clients that need it. */
  spacingMs: number;
}

/** An offer that would come later than this is worth nothing: the client's try is over, and it asks again. */
export const OFFER_WAIT_MS_MAX = 1000;

/** IEEE's number for Wake-on-LAN: whatever hears a frame of it that names no machine drops it. */
export const NUDGE_ETHER_TYPE = 0x0842;
/** The shortest an Ethernet frame may carry. */
const NUDGE_BYTES = 46;
export const NUDGE_PAYLOAD: Uint8Array = new Uint8Array(NUDGE_BYTES);

export interface TimedOffer {
  mac: Mac;
  needs: Pick<FirmwareNeeds, "nudgesAtMs" | "spacingMs">;
  send(): void;
  /** False when no such frame can be sent: the offer is sent again in its place, for any frame will do. */
  nudge(): boolean;
}

export class ReplyTiming {
  readonly #clock: Pick<Clock, "monotonicMs" | "after">;
  /** Of each client whose offer is under way. */
  readonly #timers = new Map<Mac, Set<Timer>>();
  #nextOfferMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs" | "after">) {
    this.#clock = clock;
  }

  /** Sends now if it can. False when too many others are before it: then nothing is sent. */
  offer({ mac, needs, send, nudge }: TimedOffer): boolean {
    const nowMs = this.#clock.monotonicMs();
    const waitMs = Math.max(0, this.#nextOfferMs - nowMs);
    if (waitMs > OFFER_WAIT_MS_MAX) return false;
    this.#nextOfferMs = nowMs + waitMs + needs.spacingMs;
    // It asks again: what was under way for its last try is of no use.
    this.#cancel(mac);
    this.#after(mac, waitMs, send);
    for (const atMs of needs.nudgesAtMs) {
      this.#after(mac, atMs, () => {
        if (!nudge() && atMs > waitMs) send();
      });
    }
    return true;
  }

  /** Sends nothing any more. */
  close(): void {
    for (const mac of [...this.#timers.keys()]) this.#cancel(mac);
  }

  #after(mac: Mac, delayMs: number, run: () => void): void {
    if (delayMs === 0) {
      run();
      return;
    }
    const timers = this.#timers.get(mac) ?? new Set();
    this.#timers.set(mac, timers);
    const timer = this.#clock.after(delayMs, () => {
      timers.delete(timer);
      if (timers.size === 0 && this.#timers.get(mac) === timers) this.#timers.delete(mac);
      run();
    });
    timers.add(timer);
  }

  #cancel(mac: Mac): void {
    for (const timer of this.#timers.get(mac) ?? []) timer.cancel();
    this.#timers.delete(mac);
  }
}
