/** flock(2), which Node does not have: a lock on an open file, which goes when its last descriptor is closed. */
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import type { Clock } from "../ports.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EAGAIN = 11;
const RETRY_MS = 50;

let flock: ((descriptor: number, operation: number) => number) | undefined;

export interface FileLock {
  /** A process that inherits it has the lock too. */
  readonly descriptor: number;
  /** Lets go of it here. */
  release(): void;
}

/** The lock on the file at `path`, which is made; `undefined` when others still have it after `waitMs`. */
export async function lockFile(path: string, waitMs: number, clock: Clock): Promise<FileLock | undefined> {
  return lockOpened(openSync(path, "a", 0o600), waitMs, clock);
}

/**
 * The same on a folder, for who replaces a file in it: a lock on that would be gone with it. Network file systems may have no
 * locks on folders; there it is had at once, by whoever asks.
 */
export async function lockFolder(path: string, waitMs: number, clock: Clock): Promise<FileLock | undefined> {
  return lockOpened(openSync(path, "r"), waitMs, clock, () => koffi.errno() === EAGAIN);
}

async function lockOpened(
  descriptor: number,
  waitMs: number,
  clock: Clock,
  isHeldByOthers = () => true,
): Promise<FileLock | undefined> {
  flock ??= koffi.load(null).func("int flock(int descriptor, int operation)");
  const endMs = clock.monotonicMs() + waitMs;
  while (flock(descriptor, LOCK_EX | LOCK_NB) !== 0 && isHeldByOthers()) {
    if (clock.monotonicMs() >= endMs) {
      closeSync(descriptor);
      return undefined;
    }
    await new Promise<void>((resolve) => void clock.after(RETRY_MS, resolve));
  }
  return { descriptor, release: () => closeSync(descriptor) };
}
