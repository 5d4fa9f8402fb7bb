import { expect, test } from "vitest";
import type { Timer } from "../ports.ts";
import { returnMemoryWhenQuiet } from "./spare-memory.ts";

/** Time passes by what the process waits for. Returning memory takes 1000 ms of the processor. */
function setUp() {
  const seen = { returned: 0, usedMs: 0, nowMs: 0 };
  let waiting: { delayMs: number; run: () => void } | undefined;
  const clock = {
    monotonicMs: () => seen.nowMs,
    after(delayMs: number, run: () => void): Timer {
      waiting = { delayMs, run };
      const cancel = () => {
        waiting = undefined;
      };
      return { cancel };
    },
  };
  const returnMemory = () => {
    seen.returned += 1;
    seen.usedMs += 1000;
  };
  const stop = returnMemoryWhenQuiet(clock, () => seen.usedMs, returnMemory);
  /** One interval, with so much of a processor used. */
  const pass = (share: number) => {
    const { delayMs, run } = waiting!;
    seen.nowMs += delayMs;
    seen.usedMs += delayMs * share;
    run();
  };
  return { seen, pass, stop, isWaiting: () => waiting !== undefined };
}

test.each([
  { when: "nothing was done", shares: [0, 0, 0.02], returned: 0 },
  { when: "work goes on", shares: [1, 0.5, 0.2, 0.2], returned: 0 },
  { when: "work has ended", shares: [1, 0.02], returned: 1 },
  { when: "work has ended long ago", shares: [1, 0.02, 0, 0, 0], returned: 1 },
  { when: "work becomes less, but does not end", shares: [1, 0.07, 0.07], returned: 0 },
  { when: "short work ends", shares: [0.3, 0], returned: 0 },
  { when: "little work has lasted long", shares: Array(8).fill(0.06).concat(0), returned: 1 },
  { when: "work has ended twice", shares: [1, 0, 0.5, 0], returned: 2 },
])("memory is returned at the start and $returned times more when $when", ({ shares, returned }) => {
  const { seen, pass } = setUp();
  expect(seen.returned).toBe(1);
  for (const share of shares) pass(share);
  expect(seen.returned).toBe(1 + returned);
});

test("nothing is waited for any more when it was ended", () => {
  const { stop, isWaiting } = setUp();
  expect(isWaiting()).toBe(true);
  stop();
  expect(isWaiting()).toBe(false);
});
