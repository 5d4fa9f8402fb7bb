import type { Clock } from "../ports.ts";

export const systemClock: Clock = {
  unixMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  unixNs,
  after(delayMs, run) {
    const timeout = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};

const startUnixNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/** Node has no nanosecond wall clock: the monotonic one is anchored to it, and re-anchored by what the wall says. */
function unixNs(): bigint {
  const anchored = startUnixNs + process.hrtime.bigint();
  const wall = BigInt(Date.now()) * 1_000_000n;
  const drift = anchored - wall;
  return drift > 1_000_000_000n || drift < -1_000_000_000n ? wall : anchored;
}
