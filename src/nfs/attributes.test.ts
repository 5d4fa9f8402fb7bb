import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTime, writeAttributes, writeTime } from "./attributes.ts";
import { XdrReader, XdrWriter } from "./xdr.ts";

function timeWords(timeNs: bigint): [seconds: number, nanoseconds: number] {
  const writer = new XdrWriter();
  writeTime(writer, timeNs);
  const reader = new XdrReader(writer.finish(), "time");
  return [reader.u32("s"), reader.u32("ns")];
}

const LAST_NS = 0xffff_ffffn * 1_000_000_000n + 999_999_999n;

describe("nfstime3", () => {
  it("is seconds and nanoseconds of any time from 1970 to 2106", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: LAST_NS }), (timeNs) => {
        expect(timeWords(timeNs)).toEqual([Number(timeNs / 1_000_000_000n), Number(timeNs % 1_000_000_000n)]);
      }),
    );
  });

  it.each([
    ["before 1970", -1n, [0, 0]],
    ["after 2106", LAST_NS + 1n, [0xffff_ffff, 999_999_999]],
    ["at the end of 64 bits", 2n ** 63n - 1n, [0xffff_ffff, 999_999_999]],
  ])("is the nearest possible for a time %s", (_, timeNs, words) => {
    expect(timeWords(timeNs)).toEqual(words);
  });

  it("comes back as it went", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: LAST_NS }), (timeNs) => {
        const writer = new XdrWriter();
        writeTime(writer, timeNs);
        expect(readTime(new XdrReader(writer.finish(), "time"), "time")).toBe(timeNs);
      }),
    );
  });
});

describe("fattr3", () => {
  it("is laid out as RFC 1813 2.6 has it", () => {
    const writer = new XdrWriter();
    writeAttributes(writer, 0x1122334455667788n, {
      ...{ id: 0x1_0000_0002, type: "character", mode: 0o4755, linkCount: 3, uid: 1000, gid: 50 },
      ...{ sizeBytes: 0x2_0000_0001, usedBytes: 4096, device: { major: 1, minor: 3 } },
      ...{ atimeNs: 1_000_000_001n, mtimeNs: 2_000_000_002n, ctimeNs: 3_000_000_003n },
    });
    expect(Buffer.from(writer.finish()).toString("hex")).toBe(
      [
        ...["00000004", "000009ed", "00000003", "000003e8", "00000032"],
        ...["0000000200000001", "0000000000001000", "0000000100000003"],
        ...["1122334455667788", "0000000100000002"],
        ...["0000000100000001", "0000000200000002", "0000000300000003"],
      ].join(""),
    );
  });
});
