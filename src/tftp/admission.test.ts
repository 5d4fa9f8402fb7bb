import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../bytes/addresses.ts";
import { Admission, type Load, WAITING_BLOCK_MS } from "./admission.ts";

const MB = 1_000_000;
const REVIEW_MS = 500;
/** What a Pi 4 loads, in its order. */
const FILES = [200, 2.3 * MB, 5500, 200, 200, 11 * MB, 56_000, 150, 11 * MB];
const BLOCK_BYTES = 1468;
const FIRMWARE_LIMIT_MS = 30_000;

interface Board {
  load: Load;
  file: number;
  leftBytes: number;
  slowestMs: number;
  doneAtMs: number;
}

/** Boards that are switched on together, and a network that shares what it carries evenly among those that are served. */
function powerOn(boards: number, bytesPerS: number, admission: Pick<Admission, "mustWait" | "review">) {
  const begin = (board: Board, nowMs: number) => {
    board.leftBytes = FILES[board.file]!;
    board.load = { ...board.load, sizeBytes: board.leftBytes, startedAtMs: nowMs };
  };
  const all = Array.from({ length: boards }, (_, index): Board => {
    const client = `10.0.${index >> 8}.${index & 255}` as Ipv4;
    const board = { load: { client, sizeBytes: 0, startedAtMs: 0 }, file: 0, leftBytes: 0, slowestMs: 0, doneAtMs: 0 };
    begin(board, 0);
    return board;
  });
  const stepMs = 10;
  let sentBytes = 0;
  let nowMs = 0;
  for (let open = all; open.length > 0; nowMs += stepMs) {
    if (nowMs % REVIEW_MS === 0) {
      admission.review({ running: open.map(({ load }) => load), sentBytes, isSaturated: true }, nowMs);
      sentBytes = 0;
      // Those who wait get a block each.
      for (const board of open)
        if (nowMs % WAITING_BLOCK_MS.agreed === 0 && admission.mustWait(board.load, nowMs))
          board.leftBytes -= Math.min(board.leftBytes, BLOCK_BYTES);
    }
    const served = open.filter(({ load }) => !admission.mustWait(load, nowMs));
    let room = (bytesPerS * stepMs) / 1000;
    const part = room / Math.max(1, served.length);
    for (const board of served) {
      const taken = Math.min(part, board.leftBytes);
      board.leftBytes -= taken;
      room -= taken;
      sentBytes += taken;
    }
    for (const board of open) {
      if (board.leftBytes > 0) continue;
      board.slowestMs = Math.max(board.slowestMs, nowMs + stepMs - board.load.startedAtMs);
      board.file++;
      if (board.file === FILES.length) board.doneAtMs = nowMs;
      else begin(board, nowMs);
    }
    open = open.filter(({ file }) => file < FILES.length);
  }
  const done = all.map(({ doneAtMs }) => doneAtMs).sort((a, b) => a - b);
  return {
    slowestFileMs: Math.max(...all.map(({ slowestMs }) => slowestMs)),
    medianMs: done[Math.floor(boards / 2)]!,
    lastMs: done.at(-1)!,
    totalMs: (boards * FILES.reduce((sum, size) => sum + size, 0)) / (bytesPerS / 1000),
  };
}

const NOBODY_WAITS = { mustWait: () => false, review: () => {} };

const STORMS: [name: string, boards: number, megabytesPerS: number][] = [
  ["300 boards and 1 Gbit/s", 300, 117],
  ["300 boards and a machine that sends 95 MB/s", 300, 95],
  ["330 boards and 1 Gbit/s", 330, 117],
  ["30 boards and 100 Mbit/s", 30, 11.7],
];

describe("when there is not time for all", () => {
  it.each(STORMS)("%s: every file comes within the firmware's 30 s, and the network is not idle", (_, boards, rate) => {
    const { slowestFileMs, lastMs, totalMs } = powerOn(boards, rate * MB, new Admission(0));
    expect(slowestFileMs).toBeLessThan(FIRMWARE_LIMIT_MS);
    expect(lastMs).toBeLessThan(totalMs * 1.05);
  });

  it("would not come in time, were all served alike", () => {
    const slowest = STORMS.map(([, boards, rate]) => powerOn(boards, rate * MB, NOBODY_WAITS).slowestFileMs);
    expect(slowest.filter((ms) => ms > FIRMWARE_LIMIT_MS).map((ms) => Math.round(ms / 1000))).toEqual([35, 31]);
  });

  it("the last of 300 boards is done little later than most", () => {
    const { medianMs, lastMs } = powerOn(300, 117 * MB, new Admission(0));
    expect(lastMs / medianMs).toBeLessThan(1.3);
  });
});

describe("when there is time", () => {
  it("nobody waits: 100 boards and 1 Gbit/s", () => {
    const { slowestFileMs } = powerOn(100, 117 * MB, new Admission(0));
    expect(slowestFileMs).toBe(powerOn(100, 117 * MB, NOBODY_WAITS).slowestFileMs);
  });

  it("nobody waits while nothing is used up, however slow the boards are", () => {
    const admission = new Admission(0);
    const loads = Array.from({ length: 50 }, (_, index) => ({
      client: `10.0.0.${index}` as Ipv4,
      sizeBytes: 100_000,
      startedAtMs: 0,
    }));
    admission.review({ running: loads, sentBytes: 50_000, isSaturated: false }, REVIEW_MS);
    expect(loads.filter((load) => admission.mustWait(load, REVIEW_MS))).toEqual([]);
  });
});

describe("who waits", () => {
  const load = (index: number, sizeBytes: number, startedAtMs = 0): Load => ({
    client: `10.0.0.${index}` as Ipv4,
    sizeBytes,
    startedAtMs,
  });
  const full = (running: Load[], nowMs: number, admission: Admission) =>
    admission.review({ running, sentBytes: 0, isSaturated: true }, nowMs);
  const many = Array.from({ length: 40 }, (_, index) => load(index, 2 * MB));

  it("is who came last, in a small file, and not for longer than the file's time allows", () => {
    const admission = new Admission(0);
    full(many, REVIEW_MS, admission);
    expect(many.filter((each) => admission.mustWait(each, REVIEW_MS))).toEqual(many.slice(16));
    expect(admission.mustWait(load(39, 10 * MB), REVIEW_MS)).toBe(false);
    expect(admission.mustWait(many[39]!, 17_999)).toBe(true);
    expect(admission.mustWait(many[39]!, 18_000)).toBe(false);
    expect(admission.mustWait(load(39, 1000), 21_990)).toBe(true);
    expect(admission.mustWait(load(39, 1000), 22_000)).toBe(false);
  });

  it("moves up when boards before it have all they need", () => {
    const admission = new Admission(0);
    full(many, REVIEW_MS, admission);
    full(many.slice(20), 4000, admission);
    expect(many.slice(20).filter((each) => admission.mustWait(each, 4000))).toEqual(many.slice(36));
  });
});
