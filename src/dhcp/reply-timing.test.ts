import { describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { type Mac, parseMac } from "../bytes/addresses.ts";
import { OFFER_WAIT_MS_MAX, ReplyTiming } from "./reply-timing.ts";

const NEEDS = { nudgesAtMs: [600, 1200], spacingMs: 20 };
const board = (index: number): Mac => parseMac(`b8:27:eb:00:00:${index.toString(16).padStart(2, "0")}`);

function start(canNudge = true) {
  const clock = new MemoryClock();
  const startMs = clock.nowMs;
  const timing = new ReplyTiming(clock);
  const told: string[] = [];
  const say = (what: string) => told.push(`${clock.nowMs - startMs} ${what}`);
  const offer = (mac: Mac, needs = NEEDS) =>
    timing.offer({
      mac,
      needs,
      send: () => say(`offer ${mac.slice(-2)}`),
      nudge: () => {
        if (canNudge) say(`nudge ${mac.slice(-2)}`);
        return canNudge;
      },
    });
  return { clock, timing, told, offer };
}

describe("the offer to a boot ROM", () => {
  it("goes at once, and two frames follow, 0.6 s and 1.2 s after the question", () => {
    const { clock, told, offer } = start();
    expect(offer(board(1))).toBe(true);
    expect(told).toEqual(["0 offer 01"]);
    clock.pass(5000);
    expect(told).toEqual(["0 offer 01", "600 nudge 01", "1200 nudge 01"]);
    expect(clock.timerCount).toBe(0);
  });

  it("goes again in their place where no such frame can be sent", () => {
    const { clock, told, offer } = start(false);
    offer(board(1));
    clock.pass(5000);
    expect(told).toEqual(["0 offer 01", "600 offer 01", "1200 offer 01"]);
  });

  it("keeps apart from those to others that asked at the same time", () => {
    const { clock, told, offer } = start();
    for (const index of [1, 2, 3]) offer(board(index));
    clock.pass(100);
    expect(told).toEqual(["0 offer 01", "20 offer 02", "40 offer 03"]);
    clock.pass(5000);
    expect(told.slice(3, 6)).toEqual(["600 nudge 01", "600 nudge 02", "600 nudge 03"]);
  });

  it("waits for nobody whose turn is over", () => {
    const { clock, told, offer } = start();
    offer(board(1));
    clock.pass(20);
    offer(board(2));
    expect(told).toEqual(["0 offer 01", "20 offer 02"]);
  });

  it("is not sent when the client's try would be over, and all are answered within their five tries", () => {
    const { clock, told, offer } = start();
    const waiting = new Set(Array.from({ length: 200 }, (_, index) => index));
    for (let attempt = 0; attempt < 5; attempt++) {
      for (const index of [...waiting]) if (offer(board(index))) waiting.delete(index);
      clock.pass(5000);
    }
    expect(waiting.size).toBe(0);
    const offers = told.filter((line) => line.includes("offer")).map((line) => Number.parseInt(line, 10));
    expect(offers).toHaveLength(200);
    expect(offers.every((atMs) => atMs % 5000 <= OFFER_WAIT_MS_MAX)).toBe(true);
    expect(offers.every((atMs, index) => index === 0 || atMs - offers[index - 1]! >= 20)).toBe(true);
  });

  it("is answered anew when it asks again, and what was under way for it ends", () => {
    const { clock, told, offer } = start();
    offer(board(1));
    clock.pass(500);
    offer(board(1));
    clock.pass(5000);
    expect(told).toEqual(["0 offer 01", "500 offer 01", "1100 nudge 01", "1700 nudge 01"]);
  });

  it("is left alone by others that need none of it", () => {
    const { clock, told, offer } = start();
    offer(board(1), { nudgesAtMs: [], spacingMs: 0 });
    offer(board(2));
    clock.pass(5000);
    expect(told).toEqual(["0 offer 01", "0 offer 02", "600 nudge 02", "1200 nudge 02"]);
  });

  it("is forgotten when the server ends", () => {
    const { clock, timing, told, offer } = start();
    for (const index of [1, 2]) offer(board(index));
    timing.close();
    clock.pass(5000);
    expect(told).toEqual(["0 offer 01"]);
    expect(clock.timerCount).toBe(0);
  });
});
