/**
 * Who loads at full speed when there is not time for all. Firmware gives each file 30 seconds (TFTP_FILE_TIMEOUT of the
 * EEPROM), a kernel has some 10 MB, and hundreds of boards that are switched on together may be more than the network
 * carries in that time: shared out evenly, everybody's kernel would be late. So the boards that came last wait where waiting is
 * harmless, in the small files before the kernel: a block now and then shows that we are there, and the rest comes in time.
 */
import type { Ipv4 } from "../bytes/addresses.ts";

export interface Load {
  client: Ipv4;
  sizeBytes: number;
  startedAtMs: number;
}

/** What happened since the last review. */
export interface Traffic {
  running: Iterable<Load>;
  sentBytes: number;
  /** Network or processor are used up: somebody waits for them. */
  isSaturated: boolean;
}

/** Of the firmware's 30 s; the rest is for what goes wrong. */
const FILE_MS = 20_000;
/** Until a larger one was asked for: the kernels of Raspberry Pi OS have 8 to 11 MB, and come last. */
const LARGEST_FILE_BYTES = 10_000_000;
/** Of the largest: `start4.elf` has 2.3 MB. */
const SMALL_FILE_PART = 1 / 4;
/**
 * Between two blocks of a file that waits. dnsmasq sends a lost block again after two seconds, and boards wait for it; those
 * that ask for no block size are older, and some take a file for missing after one. Half a second may come on top.
 */
export const WAITING_BLOCK_MS = { agreed: 2000, early: 250 };
/** How long the smallest may wait; a larger one so much less as it takes afterwards. */
const WAIT_MS = 22_000;
/** Between two files of one boot. */
const PAUSE_MS = 3000;
/** Never fewer, whatever was measured. */
const CLIENTS_MIN = 16;
/** What a new figure counts for. */
const RATE_WEIGHT = 1 / 4;
/** A storm is not over because of one quiet moment. */
const SATURATED_FOR_MS = 5000;

export class Admission {
  /** In the order in which they came. */
  readonly #clients = new Map<Ipv4, { seenAtMs: number }>();
  readonly #waiting = new Set<Ipv4>();
  #largestBytes = LARGEST_FILE_BYTES;
  #bytesPerMs = 0;
  #reviewedAtMs: number;
  #saturatedUntilMs = 0;

  constructor(nowMs: number) {
    this.#reviewedAtMs = nowMs;
  }

  /** Whether the next block is for later. */
  mustWait({ client, sizeBytes, startedAtMs }: Load, nowMs: number): boolean {
    if (!this.#waiting.has(client)) return false;
    const part = sizeBytes / this.#largestBytes;
    return part <= SMALL_FILE_PART && nowMs - startedAtMs < WAIT_MS - part * FILE_MS;
  }

  /** To be called a few times each second while something is running. */
  review({ running, sentBytes, isSaturated }: Traffic, nowMs: number): void {
    this.#count(running, nowMs);
    this.#measure(sentBytes, nowMs);
    this.#waiting.clear();
    if (isSaturated) this.#saturatedUntilMs = nowMs + SATURATED_FOR_MS;
    if (nowMs >= this.#saturatedUntilMs) return;
    const inTime = Math.floor((this.#bytesPerMs * FILE_MS) / this.#largestBytes);
    let room = Math.max(CLIENTS_MIN, inTime);
    for (const client of this.#clients.keys()) if (room-- <= 0) this.#waiting.add(client);
  }

  #count(running: Iterable<Load>, nowMs: number): void {
    for (const { client, sizeBytes } of running) {
      const known = this.#clients.get(client);
      if (known) known.seenAtMs = nowMs;
      else this.#clients.set(client, { seenAtMs: nowMs });
      this.#largestBytes = Math.max(this.#largestBytes, sizeBytes);
    }
    for (const [client, { seenAtMs }] of this.#clients) if (nowMs - seenAtMs > PAUSE_MS) this.#clients.delete(client);
    if (this.#clients.size === 0) this.#largestBytes = LARGEST_FILE_BYTES;
  }

  #measure(sentBytes: number, nowMs: number): void {
    const bytesPerMs = sentBytes / Math.max(1, nowMs - this.#reviewedAtMs);
    this.#reviewedAtMs = nowMs;
    this.#bytesPerMs += (bytesPerMs - this.#bytesPerMs) * RATE_WEIGHT;
  }
}
