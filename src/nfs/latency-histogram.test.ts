import fc from "fast-check";
import { expect, it } from "vitest";
import { LatencyHistogram, latencyQuantileMs, mergeLatencies } from "./latency-histogram.ts";

const timesMs = fc.array(fc.double({ min: 0.001, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 50 });

it("gives quantiles that are never too low, and at most a quarter and a little more than a microsecond too high", () => {
  fc.assert(
    fc.property(timesMs, fc.double({ min: 0.01, max: 1, noNaN: true }), (times, share) => {
      const histogram = new LatencyHistogram();
      for (const time of times) histogram.add(time, 1);
      const sorted = times.toSorted((one, other) => one - other);
      const exactMs = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!;
      const readMs = latencyQuantileMs(histogram.take(), share)!;
      expect(readMs).toBeGreaterThanOrEqual(exactMs);
      expect(readMs).toBeLessThanOrEqual(exactMs * 1.25 + 0.001_26);
    }),
  );
});

it("takes part of a microsecond and more than a minute", () => {
  const histogram = new LatencyHistogram();
  histogram.add(0, 1);
  histogram.add(1e9, 1);
  const counts = histogram.take();
  expect(latencyQuantileMs(counts, 0.5)).toBeLessThan(0.002);
  expect(latencyQuantileMs(counts, 1)).toBeGreaterThan(60_000);
});

it("counts from nothing after it was taken, and has no quantile then", () => {
  const histogram = new LatencyHistogram();
  histogram.add(1, 4);
  expect(histogram.take()).toEqual([expect.any(Number), 4]);
  expect(histogram.take()).toEqual([]);
  expect(latencyQuantileMs([], 0.5)).toBeUndefined();
});

it("merges what several counted as if one had counted all", () => {
  fc.assert(
    fc.property(timesMs, timesMs, (here, there) => {
      const [one, other, both] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()];
      for (const time of here) one.add(time, 1);
      for (const time of there) other.add(time, 1);
      for (const time of [...here, ...there]) both.add(time, 1);
      expect(mergeLatencies([one.take(), other.take()])).toEqual(both.take());
    }),
  );
});
