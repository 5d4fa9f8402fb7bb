import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileRuns } from "./file-runs.ts";

const BLOCKS = 1_000_000;

describe("FileRuns", () => {
  it("finds every block and hole, as a plain list of blocks does", () => {
    const pieces = fc.array(
      fc.record({ hole: fc.nat(3), source: fc.integer({ min: 1, max: 900 }), count: fc.integer({ min: 1, max: 5 }) }),
    );
    fc.assert(
      fc.property(pieces, (list) => {
        const runs = new FileRuns();
        const plain: number[] = [];
        for (const { hole, source, count } of list) {
          for (let index = 0; index < hole; index++) plain.push(0);
          runs.add(plain.length, source, count, "test", BLOCKS);
          for (let index = 0; index < count; index++) plain.push(source + index);
        }
        for (const [block, source] of plain.entries()) {
          const found = runs.find(block);
          expect(found.sourceBlock).toBe(source);
          for (let index = 0; index < found.countBlocks; index++) {
            expect(plain[block + index]).toBe(source === 0 ? 0 : source + index);
          }
        }
        expect(runs.find(plain.length)).toEqual({ sourceBlock: 0, countBlocks: Infinity });
      }),
    );
  });

  it("joins neighbours that lie side by side in file and source", () => {
    const runs = new FileRuns();
    runs.add(0, 100, 4, "test", BLOCKS);
    runs.add(4, 104, 4, "test", BLOCKS);
    runs.add(8, 200, 1, "test", BLOCKS);
    runs.add(10, 201, 1, "test", BLOCKS);
    expect(runs.count).toBe(3);
  });

  it.each([
    { from: 0, count: 1 },
    { from: BLOCKS - 1, count: 2 },
    { from: BLOCKS, count: 1 },
  ])("refuses $count blocks from $from, outside of the file system", ({ from, count }) => {
    expect(() => new FileRuns().add(0, from, count, "ext4 inode 12", BLOCKS)).toThrow(
      /Cannot read ext4 inode 12 .*outside/,
    );
  });
});
