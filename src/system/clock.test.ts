import { describe, expect, it } from "vitest";
import { anchoredUnixNs } from "./clock.ts";

describe("the time of day in nanoseconds", () => {
  function clocks() {
    const state = { wallMs: 1_800_000_000_000, monotonicNs: 5_000_000n };
    const unixNs = anchoredUnixNs(
      () => state.wallMs,
      () => state.monotonicNs,
    );
    const pass = (ns: bigint, wallMs = Number(ns / 1_000_000n)) => {
      state.monotonicNs += ns;
      state.wallMs += wallMs;
    };
    return { unixNs, pass };
  }

  it("is the wall's, and goes on by nanoseconds", () => {
    const { unixNs, pass } = clocks();
    expect(unixNs()).toBe(1_800_000_000_000_000_000n);
    pass(123_456n);
    expect(unixNs()).toBe(1_800_000_000_000_123_456n);
  });

  it.each([
    ["set forward", 3_600_000, 1_800_003_600_000_000_000n],
    ["set back", -3_600_000, 1_799_996_400_000_000_000n],
  ])("follows a wall clock that was %s, and still goes on by nanoseconds", (_, setMs, expected) => {
    const { unixNs, pass } = clocks();
    pass(0n, setMs);
    expect(unixNs()).toBe(expected);
    pass(42n);
    expect(unixNs()).toBe(expected + 42n);
  });

  it("does not go to and fro where the two are a second apart, and the wall's milliseconds are coarse", () => {
    const { unixNs, pass } = clocks();
    pass(0n, 1000);
    let lastNs = unixNs();
    for (let step = 0; step < 20; step++) {
      pass(700_000n, step % 3 === 2 ? 0 : 1);
      const nowNs = unixNs();
      expect(nowNs).toBeGreaterThan(lastNs);
      lastNs = nowNs;
    }
  });
});
