import { expect, it } from "vitest";
import { MemoryClock } from "../../../test/memory-network.ts";
import { WorkTimer } from "./work-timer.ts";

function setUp() {
  const clock = new MemoryClock();
  const seen: string[] = [];
  let work = 0;
  const timer = new WorkTimer(clock, {
    begin: () => seen.push("begin"),
    look() {
      seen.push(`look ${work}`);
      const isWork = work > 0;
      work = 0;
      return isWork;
    },
    rest: () => seen.push("rest"),
  });
  const doWork = () => {
    work += 1;
    timer.noteWork();
  };
  return { clock, timer, doWork, taken: () => seen.splice(0) };
}

it("waits for nothing before there is work", () => {
  expect(setUp().clock.timerCount).toBe(0);
});

it("looks once a second while there is work, and for a minute after it", () => {
  const { clock, doWork, taken } = setUp();
  doWork();
  doWork();
  clock.pass(1000);
  expect(taken()).toEqual(["begin", "look 2"]);
  clock.pass(59_000);
  expect(taken()).toEqual(Array(59).fill("look 0"));
  doWork();
  clock.pass(1000);
  expect(taken()).toEqual(["look 1"]);
  clock.pass(60_000);
  expect(taken()).toEqual([...Array(60).fill("look 0"), "rest"]);
  expect(clock.timerCount).toBe(0);
  clock.pass(3_600_000);
  doWork();
  clock.pass(1000);
  expect(taken()).toEqual(["begin", "look 1"]);
});

it("waits for nothing when it was stopped", () => {
  const { clock, timer, doWork } = setUp();
  doWork();
  timer.stop();
  expect(clock.timerCount).toBe(0);
});
