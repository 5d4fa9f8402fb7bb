import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "./simulated-clock.ts";

describe("the simulated clock", () => {
  it("runs timers by their time, those of one time in the order they were made, and none that is cancelled", async () => {
    const timer = fc.record({ delayMs: fc.integer({ min: 0, max: 20 }), isCancelled: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(timer, { maxLength: 60 }), async (timers) => {
        const clock = new SimulatedClock();
        const ran: [number, number][] = [];
        const made = timers.map(({ delayMs }, index) =>
          clock.after(delayMs, () => ran.push([clock.monotonicMs(), index])),
        );
        timers.forEach(({ isCancelled }, index) => {
          if (isCancelled) made[index]!.cancel();
        });
        await clock.runFor(20);
        const expected = timers
          .map(({ delayMs, isCancelled }, index) => ({ delayMs, isCancelled, index }))
          .filter(({ isCancelled }) => !isCancelled)
          .sort((one, other) => one.delayMs - other.delayMs || one.index - other.index)
          .map(({ delayMs, index }) => [delayMs, index]);
        expect(ran).toEqual(expected);
      }),
    );
  });

  it("stops at the time it was told, and goes on from there", async () => {
    const clock = new SimulatedClock();
    let ran = 0;
    clock.after(10, () => ran++);
    clock.after(11, () => ran++);
    await clock.runFor(10);
    expect([ran, clock.monotonicMs()]).toEqual([1, 10]);
    await clock.runFor(5);
    expect([ran, clock.monotonicMs()]).toEqual([2, 15]);
  });

  it("says when nothing can happen any more", async () => {
    await expect(new SimulatedClock().runUntilSettled(new Promise(() => {}))).rejects.toThrow("nothing waits for time");
  });
});
