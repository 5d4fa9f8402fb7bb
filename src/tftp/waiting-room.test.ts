import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../bytes/addresses.ts";
import { type Guest, WaitingRoom } from "./waiting-room.ts";

const BOARDS = 40;
/** Fewer than are served in any case. */
const FIRST = 3;
const LAST = 39;

/** Boards that each want block after block of a small file, every 10 ms, for some seconds. How many each got. */
function serve({
  seconds,
  queuedBytes = 0,
  busyPart = 0,
}: {
  seconds: number;
  queuedBytes?: number;
  busyPart?: number;
}) {
  const room = new WaitingRoom({ nowMs: 0, queuedBytes: () => queuedBytes, busyPart: () => busyPart });
  const blocks = new Map<number, number>();
  const asking = new Set<Guest>();
  const boards = Array.from({ length: BOARDS }, (_, index): Guest => {
    const board: Guest = {
      load: { client: `10.0.0.${index}` as Ipv4, sizeBytes: 50_000, startedAtMs: 0 },
      waitingBlockMs: index === LAST ? 2000 : 250,
      goOn: () => {
        blocks.set(index, (blocks.get(index) ?? 0) + 1);
        room.sent(1468);
        asking.add(board);
      },
    };
    return board;
  });
  const running = new Set(boards);
  for (const board of boards) asking.add(board);
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += 10) {
    const now = [...asking];
    asking.clear();
    for (const board of now) room.askForTurn(board, nowMs);
    room.tick(running, nowMs);
  }
  return { room, boards, blocksOf: (index: number) => blocks.get(index)! };
}

describe("the waiting room", () => {
  it("lets everybody through while nothing is used up", () => {
    const { blocksOf } = serve({ seconds: 4 });
    expect([blocksOf(FIRST), blocksOf(LAST)]).toEqual([400, 400]);
  });

  it.each([
    ["the process is busy", { busyPart: 0.95 }],
    ["the line is never free", { queuedBytes: 50_000 }],
  ])("gives the last a block now and then when %s", (_, what) => {
    const { blocksOf } = serve({ seconds: 8, ...what });
    expect(blocksOf(FIRST)).toBe(800);
    // Before the first look at it everybody is served.
    expect(blocksOf(LAST - 1)).toBeGreaterThanOrEqual(14);
    expect(blocksOf(LAST - 1)).toBeLessThanOrEqual(18);
    expect(blocksOf(LAST)).toBeGreaterThanOrEqual(3);
    expect(blocksOf(LAST)).toBeLessThanOrEqual(6);
  });

  it("lets them through when their time has come, though the line is still full", () => {
    const { blocksOf } = serve({ seconds: 25, queuedBytes: 50_000 });
    expect(blocksOf(LAST)).toBeGreaterThan(300);
  });
});
