import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocksAround, type FileData, narrowGaps, segmentsOf, storedBytes, truncated, withRange } from "./file-data.ts";

const SIZE = 60;

/** The model: for every byte, whether it lies in the layer. */
function inLayer(data: FileData, sizeBytes: number): boolean[] {
  return Array.from({ length: sizeBytes }, (_, offset) => segmentsOf(data, offset, offset + 1)[0]!.from === "layer");
}

const inherited = (inheritedBytes: number): FileData => ({ inheritedBytes, ranges: [], inline: undefined });

const span = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([one, other]) => ({
  start: Math.min(one, other),
  end: Math.max(one, other),
}));

describe("the ranges of a file", () => {
  it("say of every byte whether the layer has it, after any writes and cuts", () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: span },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: SIZE }).map((cut) => ({ cut })) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: SIZE }), fc.array(step), (inheritedBytes, steps) => {
        let data = inherited(inheritedBytes);
        const model = Array.from({ length: SIZE }, (_, offset) => offset >= inheritedBytes);
        for (const step of steps) {
          data = "cut" in step ? truncated(data, step.cut) : withRange(data, step.start, step.end);
          if ("cut" in step) model.fill(true, step.cut);
          else model.fill(true, step.start, step.end);
          expect(inLayer(data, SIZE)).toEqual(model);
        }
        const all = segmentsOf(data, 0, SIZE);
        expect(all.map(({ end }) => end).slice(0, -1)).toEqual(all.map(({ start }) => start).slice(1));
        expect(storedBytes(data, SIZE)).toBe(model.filter(Boolean).length);
      }),
    );
  });

  it("grow to whole blocks only where data are inherited", () => {
    const data = inherited(10_000);
    expect(blocksAround(data, 5000, 5001)).toEqual({ start: 4096, end: 8192 });
    expect(blocksAround(data, 8192, 9000)).toEqual({ start: 8192, end: 10_000 });
    expect(blocksAround(data, 9000, 20_000)).toEqual({ start: 8192, end: 20_000 });
    expect(blocksAround(data, 10_000, 10_001)).toEqual({ start: 10_000, end: 10_001 });
  });

  it("are let go when nothing shows through any more", () => {
    expect(withRange(withRange(inherited(100), 0, 50), 50, 200)).toEqual(inherited(0));
  });

  it("close the narrower half of their gaps when they are too many", () => {
    let data = inherited(1000);
    for (const start of [0, 20, 100, 130, 500]) data = withRange(data, start, start + 10);
    const { gaps, closed } = narrowGaps(data);
    expect(gaps).toEqual([
      { start: 10, end: 20 },
      { start: 110, end: 130 },
    ]);
    expect(closed.ranges).toEqual([0, 30, 100, 140, 500, 510]);
  });
});
