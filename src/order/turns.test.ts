import { describe, expect, it } from "vitest";
import { Turn, Turns } from "./turns.ts";

/** Work that says when it begins, and ends when it is told to. */
function steps() {
  const begun: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<string>((resolve, reject) => ends.set(name, { resolve: () => resolve(name), reject }));
  };
  return {
    begun,
    work,
    end: (name: string) => ends.get(name)!.resolve(),
    fail: (name: string) => ends.get(name)!.reject(new Error(name)),
  };
}

const turnOfTheLoop = () => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  it("come one after the other, and each has its own answer", async () => {
    const { begun, work, end } = steps();
    const turn = new Turn();
    const [one, two] = [turn.run(work("one")), turn.run(work("two"))];
    await turnOfTheLoop();
    expect(begun).toEqual(["one"]);
    end("one");
    expect(await one).toBe("one");
    await turnOfTheLoop();
    end("two");
    expect(await two).toBe("two");
  });

  it("come after one that failed, which is told to who asked for it", async () => {
    const { work, end, fail } = steps();
    const turn = new Turn();
    const [one, two] = [turn.run(work("one")), turn.run(work("two"))];
    await turnOfTheLoop();
    fail("one");
    await expect(one).rejects.toThrow("one");
    await turnOfTheLoop();
    end("two");
    expect(await two).toBe("two");
  });

  it("of different keys do not wait for each other", async () => {
    const { begun, work, end } = steps();
    const turns = new Turns<string>();
    const all = [turns.run("a", work("a1")), turns.run("a", work("a2")), turns.run("b", work("b1"))];
    await turnOfTheLoop();
    expect(begun).toEqual(["a1", "b1"]);
    end("a1");
    await turnOfTheLoop();
    expect(begun).toEqual(["a1", "b1", "a2"]);
    // Asked for while the last one of its key is under way.
    all.push(turns.run("a", work("a3")));
    await turnOfTheLoop();
    expect(begun).not.toContain("a3");
    end("a2");
    await turnOfTheLoop();
    end("a3");
    end("b1");
    expect(await Promise.all(all)).toEqual(["a1", "a2", "b1", "a3"]);
  });
});
