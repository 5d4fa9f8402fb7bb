import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memorySource } from "../sub-source.ts";
import { overlaySource } from "./overlay-source.ts";

const BLOCK_BYTES = 8;
const HEAD = Uint8Array.of(0xc0, 0x3b, 0x39, 0x98);

describe("overlaySource", () => {
  it("reads like a copy in which the blocks were replaced", async () => {
    const base = Uint8Array.from({ length: 64 }, (_, at) => at);
    const replaced = new Map([
      [1, { sourceOffset: 40 }],
      [2, { sourceOffset: 48, head: HEAD }],
      [7, { sourceOffset: 0 }],
    ]);
    const copy = Uint8Array.from(base);
    copy.set(base.subarray(40, 48), 8);
    copy.set(base.subarray(48, 56), 16);
    copy.set(HEAD, 16);
    copy.set(base.subarray(0, 8), 56);
    const file = { ...memorySource(base), descriptor: 3 };
    const below = { ...file, rangeNow: (offset: number, lengthBytes: number) => ({ file, offset, lengthBytes }) };
    const source = overlaySource(below, BLOCK_BYTES, replaced);
    expect(source.sizeBytes).toBe(64);
    await fc.assert(
      fc.asyncProperty(fc.nat(63), fc.nat(64), async (offset, length) => {
        const one = new Uint8Array(Math.min(length, 64 - offset));
        const other = new Uint8Array(one.length);
        source.readSync(one, offset);
        await source.read(other, offset);
        expect(one).toEqual(copy.subarray(offset, offset + one.length));
        expect(other).toEqual(one);
        const range = source.rangeNow?.(offset, one.length);
        const isReplaced = [1, 2, 7].some((block) => block * 8 < offset + one.length && block * 8 + 8 > offset);
        if (one.length > 0) expect(range === undefined).toBe(isReplaced);
        range?.file.readSync(other.fill(255), range.offset);
        expect(other).toEqual(one);
      }),
    );
  });
});
