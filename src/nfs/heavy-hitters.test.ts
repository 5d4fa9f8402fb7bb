import fc from "fast-check";
import { expect, it } from "vitest";
import { HeavyHitters } from "./heavy-hitters.ts";

const SECOND_MS = 1000;

it("tells the rate of what comes in evenly, once it has gone on for a while", () => {
  const hitters = new HeavyHitters();
  let told = hitters.take(SECOND_MS, 5);
  for (let second = 0; second < 60; second++) {
    hitters.add(7, 3000);
    hitters.add(0, 10);
    told = hitters.take(SECOND_MS, 5);
  }
  expect(told).toEqual([
    { key: 7, perSecond: expect.closeTo(2993, 0) },
    { key: 0, perSecond: expect.closeTo(9.98, 1) },
  ]);
});

it("tells the same rate however often it is asked", () => {
  const rate = (periodMs: number) => {
    const hitters = new HeavyHitters();
    let told = hitters.take(periodMs, 1);
    for (let passedMs = 0; passedMs < 100_000; passedMs += periodMs) {
      hitters.add(7, periodMs);
      told = hitters.take(periodMs, 1);
    }
    return told[0]!.perSecond;
  };
  expect(rate(100)).toBeCloseTo(1000, 0);
  expect(rate(5000)).toBeCloseTo(1000, 0);
});

it("forgets what is over", () => {
  const hitters = new HeavyHitters();
  hitters.add(7, 1e6);
  for (let second = 0; second < 30; second++) hitters.take(SECOND_MS, 5);
  expect(hitters.take(SECOND_MS, 5)[0]!.perSecond).toBeLessThan(1e6 * 0.1 * 0.06);
  for (let second = 0; second < 300; second++) hitters.take(SECOND_MS, 5);
  expect(hitters.take(SECOND_MS, 5)).toEqual([]);
});

it("never tells more of a key than it had, and always has one with more than a thirty-second of the whole", () => {
  const additions = fc.array(fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 100 })), {
    minLength: 1,
    maxLength: 500,
  });
  fc.assert(
    fc.property(additions, (added) => {
      const hitters = new HeavyHitters();
      const exact = new Map<number, number>();
      for (const [key, weight] of added) {
        hitters.add(key, weight);
        exact.set(key, (exact.get(key) ?? 0) + weight);
      }
      // What was added just now is a rate of a tenth of it: it fades in ten seconds.
      const told = new Map(hitters.take(1, 1000).map(({ key, perSecond }) => [key, perSecond * 10]));
      for (const [key, weight] of told) expect(weight).toBeLessThanOrEqual(exact.get(key)! + 1e-3);
      const whole = added.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [key, weight] of exact) if (weight > whole / 32) expect(told.has(key), `key ${key}`).toBe(true);
    }),
  );
});
