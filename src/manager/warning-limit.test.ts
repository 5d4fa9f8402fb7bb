import { expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { limitWarnings } from "./warning-limit.ts";

it("passes the first warning on at once, and those that follow as one", () => {
  const clock = new MemoryClock();
  const warned: string[] = [];
  const warn = limitWarnings(clock, 60_000, (message) => warned.push(message));
  warn("first");
  for (let index = 1; index <= 1000; index++) warn(`repeat ${index}`);
  expect(warned.splice(0)).toEqual(["first"]);
  clock.pass(60_000);
  expect(warned.splice(0)).toEqual(["repeat 1000 (1000 times in 60 s)"]);
  warn("one more");
  clock.pass(60_000);
  expect(warned.splice(0)).toEqual(["one more"]);
});

it("holds no timer once it is quiet, and passes the next warning on at once", () => {
  const clock = new MemoryClock();
  const warned: string[] = [];
  const warn = limitWarnings(clock, 1000, (message) => warned.push(message));
  warn("first");
  clock.pass(1000);
  expect(clock.timerCount).toBe(0);
  warn("second");
  expect(warned).toEqual(["first", "second"]);
});
