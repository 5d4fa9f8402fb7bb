import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FileMap, FileMaps } from "./file-maps.ts";
import { FileRuns } from "./file-runs.ts";

const BLOCKS = 1_000_000;

function runsOf(pieces: readonly { hole: number; source: number; count: number }[]): FileRuns {
  const runs = new FileRuns();
  let block = 0;
  for (const { hole, source, count } of pieces) {
    runs.add(block + hole, source, count, "test", BLOCKS);
    block += hole + count;
  }
  return runs;
}

/** All that `find` says of the first blocks. */
function seenIn(map: FileMap): unknown[] {
  if ("inline" in map) return [map.sizeBytes, [...map.inline]];
  return [map.sizeBytes, ...Array.from({ length: 30 }, (_, block) => map.runs.find(block))];
}

describe("FileMaps", () => {
  it("say the same of a file when it was kept as when it was read", () => {
    const piece = fc.record({
      hole: fc.nat(2),
      source: fc.integer({ min: 1, max: BLOCKS - 10 }),
      count: fc.integer({ min: 1, max: 9 }),
    });
    const ofRuns = fc
      .tuple(fc.nat(2 ** 40), fc.array(piece, { maxLength: 3 }))
      .map(([sizeBytes, pieces]): FileMap => ({ sizeBytes, runs: runsOf(pieces) }));
    const inline = fc
      .uint8Array({ maxLength: 60 })
      .map((bytes): FileMap => ({ sizeBytes: bytes.length, inline: bytes }));
    const asked = fc.array(fc.nat(300), { minLength: 1, maxLength: 400 });
    fc.assert(
      fc.property(fc.array(fc.oneof(ofRuns, inline), { minLength: 1, maxLength: 20 }), asked, (files, ids) => {
        const loaded: number[] = [];
        const fileOf = (id: number) => files[id % files.length]!;
        const maps = new FileMaps((id) => {
          loaded.push(id);
          return fileOf(id);
        });
        for (const id of ids) expect(seenIn(maps.get(id))).toEqual(seenIn(fileOf(id)));
        expect(loaded).toEqual([...new Set(ids)]);
      }),
    );
  });

  it("keep nothing of a file that cannot be read", () => {
    let isDamaged = true;
    const maps = new FileMaps((): FileMap => {
      if (isDamaged) throw new Error("damaged");
      return { sizeBytes: 5, inline: new Uint8Array(5) };
    });
    expect(() => maps.get(12)).toThrow("damaged");
    expect(() => maps.get(12)).toThrow("damaged");
    isDamaged = false;
    expect(maps.get(12).sizeBytes).toBe(5);
  });
});
