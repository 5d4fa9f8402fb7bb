import { expect, it } from "vitest";
import { CacheBudget, LayerCache } from "./layer-cache.ts";

it("counts what values gain after they were put in", () => {
  const budget = new CacheBudget(100);
  const [old, busy] = [new LayerCache<string>(budget), new LayerCache<string>(budget)];
  old.set(1, "one", 10);
  busy.set(2, "two", 10);
  busy.grow(80);
  expect([old.get(1), busy.get(2)]).toEqual(["one", "two"]);
  busy.grow(1);
  expect([old.get(1), busy.get(2)]).toEqual([undefined, "two"]);
  busy.grow(20);
  expect(busy.get(2)).toBeUndefined();
});
