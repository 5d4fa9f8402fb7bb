import { describe, expect, it } from "vitest";
import { BoundedCache } from "./bounded-cache.ts";

describe("BoundedCache", () => {
  const made: number[] = [];
  const make = (key: number): string => {
    made.push(key);
    return "x".repeat(key);
  };

  it("makes a value once, and again after it was the one unused for longest", () => {
    const cache = new BoundedCache<string>(6, (value) => value.length);
    for (const key of [1, 2, 3, 1, 4, 1, 2]) cache.getOrMake(key, make);
    // 1 + 2 + 3 fill it; 4 drives out 2 and 3, but not 1, which was used in between; 2 drives out 4.
    expect(made).toEqual([1, 2, 3, 4, 2]);
  });

  it("holds a value heavier than its bound, alone", () => {
    made.length = 0;
    const cache = new BoundedCache<string>(6, (value) => value.length);
    for (const key of [3, 9, 9, 3, 3]) cache.getOrMake(key, make);
    expect(made).toEqual([3, 9, 3]);
  });

  it("keeps nothing of a value that could not be made", () => {
    const cache = new BoundedCache<string>(6, (value) => value.length);
    const fail = (): string => {
      throw new Error("no");
    };
    expect(() => cache.getOrMake(1, fail)).toThrow("no");
    expect(cache.getOrMake(1, () => "yes")).toBe("yes");
  });

  it("counts what was put in again, or taken out, no more", () => {
    const cache = new BoundedCache<string>(6, (value) => value.length);
    cache.set(1, "five5");
    cache.set(1, "three");
    cache.set(1, "1");
    cache.set(2, "five5");
    expect([cache.get(1), cache.get(2)]).toEqual(["1", "five5"]);
    cache.delete(2);
    cache.set(3, "five5");
    expect([cache.get(1), cache.get(2), cache.get(3)]).toEqual(["1", undefined, "five5"]);
    cache.clear();
    cache.set(4, "sixsix");
    expect([cache.get(1), cache.get(3), cache.get(4)]).toEqual([undefined, undefined, "sixsix"]);
  });

  it("weighs a value as it was when it was put in", () => {
    const cache = new BoundedCache<number[]>(3, (value) => value.length);
    const growing = [1];
    cache.set(1, growing);
    growing.push(2, 3);
    cache.set(2, [1, 2]);
    expect(cache.get(1)).toBe(growing);
    cache.set(1, growing);
    expect(cache.get(2)).toBeUndefined();
    cache.delete(1);
    cache.set(3, [1, 2, 3]);
    expect(cache.get(3)).toHaveLength(3);
  });
});
