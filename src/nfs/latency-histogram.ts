/**
 * How long answers took, as counts in buckets that grow with what they hold: four for each doubling, from 1 µs to over a
 * minute. A quantile read from it is at most a quarter too high, and counting allocates nothing.
 */
const STEPS_PER_DOUBLING = 4;
const STEP_BITS = 2;
const DOUBLINGS = 27;
export const LATENCY_BUCKETS = DOUBLINGS * STEPS_PER_DOUBLING;

/** As it travels: bucket and count by turns, of those buckets that have any. */
export type LatencyCounts = readonly number[];

export class LatencyHistogram {
  readonly #counts = new Uint32Array(LATENCY_BUCKETS);

  /** `count` answers took `tookMs` each. */
  add(tookMs: number, count: number): void {
    const bucket = bucketOf(tookMs);
    this.#counts[bucket] = this.#counts[bucket]! + count;
  }

  /** What was counted since the last time, and counts from nothing. */
  take(): LatencyCounts {
    const taken: number[] = [];
    this.#counts.forEach((count, bucket) => {
      if (count > 0) taken.push(bucket, count);
    });
    this.#counts.fill(0);
    return taken;
  }
}

function bucketOf(tookMs: number): number {
  const us = Math.max(1, Math.ceil(tookMs * 1000));
  if (us >= 2 ** DOUBLINGS) return LATENCY_BUCKETS - 1;
  const doubling = 31 - Math.clz32(us);
  const step = (doubling < STEP_BITS ? us << (STEP_BITS - doubling) : us >> (doubling - STEP_BITS)) & 3;
  return doubling * STEPS_PER_DOUBLING + step;
}

/** Where the bucket ends. */
function upperMs(bucket: number): number {
  const doubling = Math.floor(bucket / STEPS_PER_DOUBLING);
  return (2 ** doubling * (1 + ((bucket % STEPS_PER_DOUBLING) + 1) / STEPS_PER_DOUBLING)) / 1000;
}

/** Everything that several histograms hold, bucket by bucket. */
export function mergeLatencies(all: Iterable<LatencyCounts>): LatencyCounts {
  const counts = new Map<number, number>();
  for (const one of all) {
    for (let at = 0; at < one.length; at += 2) counts.set(one[at]!, (counts.get(one[at]!) ?? 0) + one[at + 1]!);
  }
  return [...counts].sort(([one], [other]) => one - other).flat();
}

/** Milliseconds that this share (0 to 1) of the answers did not take longer than; `undefined` when there were none. */
export function latencyQuantileMs(counts: LatencyCounts, share: number): number | undefined {
  let total = 0;
  for (let at = 1; at < counts.length; at += 2) total += counts[at]!;
  let left = total * share;
  for (let at = 0; at < counts.length; at += 2) {
    left -= counts[at + 1]!;
    if (left <= 0) return upperMs(counts[at]!);
  }
  return undefined;
}
