import { expect, it } from "vitest";
import { CacheBudget, LayerCache } from "./layer-cache.ts";

it("counts what values gain after they were put in, and keeps the one in use", () => {
  const budget = new CacheBudget(100);
  const [old, busy] = [new LayerCache<string>(budget), new LayerCache<string>(budget)];
  old.set(1, "one", 10);
  busy.set(2, "two", 10);
  busy.grow(2, 80, 90);
  expect([old.get(1), busy.get(2)]).toEqual(["one", "two"]);
  busy.grow(2, 1, 91);
  expect([old.get(1), busy.get(2)]).toEqual([undefined, "two"]);
  busy.set(3, "three", 5);
  busy.grow(2, 20, 111);
  expect([busy.get(2), busy.get(3)]).toEqual(["two", undefined]);
  old.set(1, "one", 10);
  expect([old.get(1), busy.get(2)]).toEqual(["one", undefined]);
});
