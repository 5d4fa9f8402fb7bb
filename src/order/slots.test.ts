import { expect, it } from "vitest";
import { Slots } from "./slots.ts";

it("runs no more at a time than it has slots, in order, whatever fails", async () => {
  const slots = new Slots(2);
  const begun: number[] = [];
  const ends = new Map<number, (error?: Error) => void>();
  const runs = [0, 1, 2, 3].map((index) =>
    slots.run(() => {
      begun.push(index);
      return new Promise<number>((resolve, reject) =>
        ends.set(index, (error) => (error ? reject(error) : resolve(index))),
      );
    }),
  );
  expect(begun).toEqual([0, 1]);
  ends.get(1)!(new Error("it failed"));
  await expect(runs[1]).rejects.toThrow("it failed");
  expect(begun).toEqual([0, 1, 2]);
  ends.get(0)!();
  await runs[0];
  expect(begun).toEqual([0, 1, 2, 3]);
  ends.get(2)!();
  ends.get(3)!();
  expect(await Promise.all([runs[2], runs[3]])).toEqual([2, 3]);
});
