/**
 * Raspberry Pis that ask to boot and are no nodes. Firmware asks again and again, so each of them is told once, then now
 * and then; and however many addresses somebody makes up, only so many are told in that time.
 */
import type { Mac } from "../bytes/addresses.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import { UNKNOWN_PIS_MAX } from "../limits.ts";
import type { Clock } from "../ports.ts";
import type { Report } from "./report.ts";

/** How old "last seen" can be, and how often a Pi that nobody adopts fills a line of the journal. */
export const TOLD_AGAIN_MS = 5 * 60_000;

export class Discovery {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #report: Report;
  /** When each was told last, the one longest ago first, and what was told. */
  readonly #told = new Map<Mac, { atMs: number; about: string }>();
  /** Hears of each time one asks. One listener. */
  onSeen: (pi: SeenPi) => void = () => {};

  constructor(clock: Pick<Clock, "monotonicMs">, report: Report) {
    this.#clock = clock;
    this.#report = report;
  }

  seen(pi: SeenPi): void {
    if (this.#isNews(pi)) this.#report({ kind: "unknown-pi", ...pi });
    this.onSeen(pi);
  }

  #isNews({ mac, serial, model }: SeenPi): boolean {
    const nowMs = this.#clock.monotonicMs();
    for (const [old, { atMs }] of this.#told) {
      if (nowMs - atMs < TOLD_AGAIN_MS) break;
      this.#told.delete(old);
    }
    const about = `${serial} ${model}`;
    const before = this.#told.get(mac);
    // The second stage of a Pi 3 tells more than its ROM does, which is told once: the two take turns at each boot.
    const isKnown = before !== undefined && (serial === undefined || before.about === about);
    if (isKnown || (before === undefined && this.#told.size >= UNKNOWN_PIS_MAX)) return false;
    this.#told.set(mac, { atMs: before?.atMs ?? nowMs, about });
    return true;
  }
}
