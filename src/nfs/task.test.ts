import { describe, expect, it } from "vitest";
import type { Awaitable } from "../ports.ts";
import { run, type Task, wait } from "./task.ts";

function* sum(...values: Awaitable<number>[]): Task<number> {
  let total = 0;
  for (const value of values) total += yield* wait(value);
  return total;
}

function* caught(value: Awaitable<number>): Task<string> {
  try {
    return String(yield* wait(value));
  } catch (error) {
    return `caught ${(error as Error).message}`;
  }
}

describe("a task", () => {
  it("has its result at once when nothing had to be waited for", () => {
    expect(run(sum(1, 2, 3))).toBe(6);
  });

  it("becomes a promise from the first value that is one", async () => {
    const result = run(sum(1, Promise.resolve(2), 3, Promise.resolve(4)));
    expect(result).toBeInstanceOf(Promise);
    expect(await result).toBe(10);
  });

  it("is told of a rejection where it waits, and may go on", async () => {
    expect(await run(caught(Promise.reject(new Error("refused"))))).toBe("caught refused");
  });

  it("fails with what it did not catch", async () => {
    await expect(run(sum(Promise.reject(new Error("refused")), 1))).rejects.toThrow("refused");
    await expect(run(sum(Promise.resolve(1), Promise.reject(new Error("later"))))).rejects.toThrow("later");
  });
});
