import { describe, expect, it } from "vitest";
import { memorySource } from "../sub-source.ts";
import { runsOfBlockMap } from "./block-map.ts";
import type { Inode } from "./inode.ts";
import { MetadataBlocks } from "./metadata-blocks.ts";

const BLOCK_BYTES = 1024;
const PER_BLOCK = BLOCK_BYTES / 4;
const BLOCKS = 64;

const numbers = (list: Record<number, number>, count = PER_BLOCK): Uint8Array => {
  const view = new DataView(new ArrayBuffer(count * 4));
  for (const [index, number] of Object.entries(list)) view.setUint32(Number(index) * 4, number, true);
  return new Uint8Array(view.buffer);
};

function runsOf(area: Record<number, number>, sizeBytes: number, maps: Record<number, Uint8Array> = {}) {
  const disk = new Uint8Array(BLOCKS * BLOCK_BYTES);
  for (const [number, bytes] of Object.entries(maps)) disk.set(bytes, Number(number) * BLOCK_BYTES);
  const inode = { id: 12, blockArea: numbers(area, 15), attributes: { sizeBytes } } as unknown as Inode;
  return runsOfBlockMap(inode, new MetadataBlocks(memorySource(disk), BLOCK_BYTES, BLOCKS));
}

describe("a block map", () => {
  it("leads to data through one, two and three levels", () => {
    const singleFrom = 12;
    const doubleFrom = singleFrom + PER_BLOCK;
    const tripleFrom = doubleFrom + PER_BLOCK ** 2;
    const runs = runsOf({ 0: 30, 1: 31, 11: 32, 12: 10, 13: 11, 14: 13 }, 2 ** 34, {
      10: numbers({ 0: 33, 255: 34 }),
      11: numbers({ 3: 12 }),
      12: numbers({ 7: 35 }),
      13: numbers({ 2: 14 }),
      14: numbers({ 1: 15 }),
      15: numbers({ 9: 36 }),
    });
    expect(runs.find(0)).toEqual({ sourceBlock: 30, countBlocks: 2 });
    expect(runs.find(11).sourceBlock).toBe(32);
    expect(runs.find(singleFrom).sourceBlock).toBe(33);
    expect(runs.find(singleFrom + 255).sourceBlock).toBe(34);
    expect(runs.find(doubleFrom + 3 * PER_BLOCK + 7).sourceBlock).toBe(35);
    expect(runs.find(tripleFrom + 2 * PER_BLOCK ** 2 + PER_BLOCK + 9).sourceBlock).toBe(36);
    // Side by side in file and disk, 11 and 12 are one run, so that there are five.
    expect(runs.count).toBe(5);
  });

  it("is followed only as far as the file is long", () => {
    expect(runsOf({ 0: 30, 1: 40, 12: 99_999 }, 1024).count).toBe(1);
  });

  it.each([
    { what: "data outside", area: { 0: BLOCKS }, message: `block ${BLOCKS} is outside` },
    { what: "a map outside", area: { 12: BLOCKS }, message: `block ${BLOCKS} is outside` },
    { what: "a map that leads to itself", area: { 14: 20 }, message: "it has more blocks than the disk" },
  ])("with $what is refused", ({ area, message }) => {
    const loop = numbers(Object.fromEntries(Array.from({ length: PER_BLOCK }, (_, index) => [index, 20])));
    expect(() => runsOf(area, 2 ** 34, { 20: loop })).toThrow(message);
  });
});
