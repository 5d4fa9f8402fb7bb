import { expect, it } from "vitest";
import type { BootOccurrence } from "../cluster/event.ts";
import { rootActivity } from "./root-activity.ts";

it("tells what a root did since the last time, also when its worker counts from nothing again", () => {
  const told: BootOccurrence[] = [];
  const take = rootActivity((occurrence) => void told.push(occurrence));
  const root = (operations: number, readBytes: number, writtenBytes: number) =>
    ({ node: "node1", kind: "root", treeId: 2, counters: { operations, readBytes, writtenBytes } }) as const;
  take([root(10, 100, 1000)]);
  take([{ ...root(99, 9, 9), kind: "boot", treeId: 1 }, root(15, 100, 1500)]);
  take([root(3, 30, 300)]);
  expect(told).toEqual([
    { kind: "root-activity", operations: 10, readBytes: 100, writtenBytes: 1000 },
    { kind: "root-activity", operations: 5, readBytes: 0, writtenBytes: 500 },
    { kind: "root-activity", operations: 3, readBytes: 30, writtenBytes: 300 },
  ]);
});
