import { describe, expect, it } from "vitest";
import { agree } from "./options.ts";

describe("TFTP options", () => {
  // asked, answered, block bytes, window blocks
  const cases: [string, Record<string, string>, Record<string, string>, number, number][] = [
    ["none: no OACK", {}, {}, 512, 1],
    ["the EEPROM bootloader's", { tsize: "0", blksize: "1468" }, { tsize: "5000", blksize: "1468" }, 1468, 1],
    ["in the order asked", { blksize: "1024", tsize: "0" }, { blksize: "1024", tsize: "5000" }, 1024, 1],
    ["a block too large for a frame", { blksize: "65464" }, { blksize: "1468" }, 1468, 1],
    ["a block too small", { blksize: "7" }, {}, 512, 1],
    ["a block size that is no number", { blksize: "1e3" }, {}, 512, 1],
    ["an unknown one", { multicast: "" }, {}, 512, 1],
    ["a timeout", { timeout: "2" }, { timeout: "2" }, 512, 1],
    ["a timeout out of range", { timeout: "256" }, {}, 512, 1],
    ["a window", { windowsize: "16" }, { windowsize: "16" }, 512, 16],
    ["a window too large", { windowsize: "9999" }, { windowsize: "64" }, 512, 64],
  ];
  it.each(cases)("%s", (_, asked, answered, blockBytes, windowBlocks) => {
    const agreement = agree(new Map(Object.entries(asked)), 5000, 1468);
    expect([...agreement.acknowledged]).toEqual(Object.entries(answered));
    expect(agreement).toMatchObject({ blockBytes, windowBlocks });
  });

  it("keep a window of large blocks within its bytes", () => {
    expect(
      agree(
        new Map([
          ["windowsize", "64"],
          ["blksize", "65464"],
        ]),
        1,
        65464,
      ).windowBlocks,
    ).toBe(1);
  });
});
