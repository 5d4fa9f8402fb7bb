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
    for (const key of [1, 2, 3, 1, 4, 1, 2]) cache.get(key, make);
    // 1 + 2 + 3 fill it; 4 drives out 2 and 3, but not 1, which was used in between; 2 drives out 4.
    expect(made).toEqual([1, 2, 3, 4, 2]);
  });

  it("holds a value heavier than its bound, alone", () => {
    made.length = 0;
    const cache = new BoundedCache<string>(6, (value) => value.length);
    for (const key of [3, 9, 9, 3, 3]) cache.get(key, make);
    expect(made).toEqual([3, 9, 3]);
  });

  it("keeps nothing of a value that could not be made", () => {
    const cache = new BoundedCache<string>(6, (value) => value.length);
    const fail = (): string => {
      throw new Error("no");
    };
    expect(() => cache.get(1, fail)).toThrow("no");
    expect(cache.get(1, () => "yes")).toBe("yes");
  });
});
