import { describe, expect, it } from "vitest";
import type { DirectoryEntry } from "../file-system-image.ts";
import { parseEntries, verifyDirectoryBlock } from "./directory.ts";

const RULES = { format: "ext4 directory 12", inodesCount: 100, hasFileTypes: true };

interface RawEntry {
  id: number;
  name: string;
  /** As small as the name allows when absent. */
  recordBytes?: number;
}

/** The last entry takes the rest of the block, as on disk. */
function directory(entries: RawEntry[], blockBytes = 128): Uint8Array {
  const bytes = Buffer.alloc(blockBytes);
  let at = 0;
  entries.forEach(({ id, name, recordBytes }, index) => {
    const isLast = index === entries.length - 1;
    const length = recordBytes ?? (isLast ? blockBytes - at : (8 + name.length + 3) & ~3);
    bytes.writeUInt32LE(id, at);
    bytes.writeUInt16LE(length >= 65536 ? 65535 : length, at + 4);
    bytes.writeUInt8(name.length, at + 6);
    bytes.write(name, at + 8, "latin1");
    at += length;
  });
  return bytes;
}

function parse(bytes: Uint8Array, rules = RULES): { entries: DirectoryEntry[]; parent: number | undefined } {
  const entries: DirectoryEntry[] = [];
  const parent = parseEntries(bytes, "block 0", rules, entries);
  return { entries, parent };
}

describe("a directory block", () => {
  it("gives its names without `.`, `..` and deleted ones", () => {
    const bytes = directory([
      { id: 12, name: "." },
      { id: 2, name: ".." },
      { id: 13, name: "one" },
      { id: 0, name: "deleted" },
      { id: 100, name: "\xff" },
    ]);
    expect(parse(bytes)).toEqual({
      parent: 2,
      entries: [
        { name: "one", id: 13 },
        { name: "\xff", id: 100 },
      ],
    });
  });

  it("of 64 KiB can be one single entry, whose length does not fit 16 bits", () => {
    expect(parse(directory([{ id: 13, name: "one" }], 65536)).entries).toHaveLength(1);
  });

  it("without filetype has names with a length of 16 bits", () => {
    const bytes = directory([{ id: 13, name: "one" }]);
    bytes[7] = 1;
    expect(() => parse(bytes, { ...RULES, hasFileTypes: false })).toThrow("a name of 259 do not fit");
  });

  it.each([
    {
      what: "an entry of 0 bytes in the middle",
      entries: [
        { id: 13, name: "a" },
        { id: 14, name: "b", recordBytes: 0 },
      ],
      message: "entry at byte 12: 128 bytes",
    },
    {
      what: "an entry shorter than its name",
      entries: [{ id: 13, name: "abcdef", recordBytes: 12 }],
      message: "12 bytes with a name of 6 do not fit",
    },
    { what: "an entry past the end", entries: [{ id: 13, name: "a", recordBytes: 132 }], message: "132 bytes" },
    {
      what: "an entry of no multiple of four, which means a longer one",
      entries: [{ id: 13, name: "a", recordBytes: 14 }],
      message: "byte 0: 131084 bytes",
    },
    {
      what: "an entry header that is cut off",
      entries: [{ id: 13, name: "a", recordBytes: 124 }],
      message: "entry at byte 124: it is cut off",
    },
    { what: "an inode that does not exist", entries: [{ id: 101, name: "a" }], message: "inode 101 of 100" },
    { what: "a slash in a name", entries: [{ id: 13, name: "a/b" }], message: "no valid name" },
    { what: "a NUL in a name", entries: [{ id: 13, name: "a\0b" }], message: "no valid name" },
    { what: "an empty name", entries: [{ id: 13, name: "" }], message: "no valid name" },
  ])("with $what is refused", ({ entries, message }) => {
    expect(() => parse(directory(entries))).toThrow(message);
  });

  it("without room for its checksum is refused under metadata_csum", () => {
    const bytes = directory([{ id: 13, name: "a" }]);
    expect(() => verifyDirectoryBlock(bytes, RULES.format, "block 0", 1, false)).toThrow("the checksum is missing");
  });
});
