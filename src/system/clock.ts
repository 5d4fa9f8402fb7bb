import type { Clock } from "../ports.ts";

/** How far the wall clock may be from ours before it has been set, and ours with it. */
const SET_NS = 1_000_000_000n;

/**
 * Time of day in nanoseconds since 1970, which Node does not have: of a monotonic clock that is anchored to the wall's
 * milliseconds, and anchored anew when the wall clock was set.
 */
export function anchoredUnixNs(wallUnixMs: () => number, monotonicNs: () => bigint): () => bigint {
  const wallNs = () => BigInt(wallUnixMs()) * 1_000_000n;
  let anchorNs = wallNs() - monotonicNs();
  return () => {
    const nowNs = monotonicNs();
    const aheadNs = anchorNs + nowNs - wallNs();
    if (aheadNs > SET_NS || aheadNs < -SET_NS) anchorNs -= aheadNs;
    return anchorNs + nowNs;
  };
}

export const systemClock: Clock = {
  unixMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  unixNs: anchoredUnixNs(Date.now, process.hrtime.bigint),
  after(delayMs, run) {
    const timeout = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};
