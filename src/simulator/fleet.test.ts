import { describe, expect, it } from "vitest";
import { type FleetEvent, startFleet } from "./fleet.ts";
import { findVirtualModel, makeBoard } from "./models.ts";
import { seededRandom } from "./seed.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { VirtualLan } from "./virtual-lan.ts";

/** When each of four Pis got its power; nobody answers them. */
async function powerOnTimes(powerOnApartMs: number | undefined, offAfterMs: number): Promise<[string, number][]> {
  const clock = new SimulatedClock();
  const lan = new VirtualLan(clock);
  const random = seededRandom(1);
  const off = new AbortController();
  const events: [FleetEvent, number][] = [];
  const fleet = startFleet({
    pis: ["a", "b", "c", "d"].map((name) => ({
      name,
      board: makeBoard(findVirtualModel("4")!, {}, random),
      tapName: "tap0",
    })),
    openPort: () => lan.plug(),
    clock,
    random,
    signal: off.signal,
    onEvent: (event) => events.push([event, clock.monotonicMs()]),
    ...(powerOnApartMs !== undefined && { powerOnApartMs }),
  });
  await clock.runFor(offAfterMs);
  off.abort();
  await clock.runUntilSettled(fleet.finished);
  return events.flatMap(([event, atMs]) => (event.kind === "power-on" ? [[event.pi, atMs]] : []));
}

describe("a fleet", () => {
  it("gets its power together, or one Pi after the other", async () => {
    const start = (await powerOnTimes(undefined, 1000))[0]![1];
    const sinceFirst = (times: [string, number][]) => times.map(([pi, atMs]) => [pi, atMs - start]);
    expect(sinceFirst(await powerOnTimes(undefined, 1000))).toEqual([
      ["a", 0],
      ["b", 0],
      ["c", 0],
      ["d", 0],
    ]);
    expect(sinceFirst(await powerOnTimes(5000, 16_000))).toEqual([
      ["a", 0],
      ["b", 5000],
      ["c", 10_000],
      ["d", 15_000],
    ]);
  });

  it("is off as a whole when it is switched off before all have power", async () => {
    expect((await powerOnTimes(5000, 7000)).map(([pi]) => pi)).toEqual(["a", "b"]);
  });
});
