import { describe, expect, it } from "vitest";
import { memorySource } from "../sub-source.ts";
import { crc32c, crc32cU32 } from "./checksums.ts";
import { inlineDataTail, readExtendedAttributes } from "./extended-attributes.ts";
import type { Inode } from "./inode.ts";
import { MetadataBlocks } from "./metadata-blocks.ts";

const BLOCK_BYTES = 1024;
const SEED = 0x600df00d;
const USER = 1;
const SECURITY = 6;
const SYSTEM = 7;

interface RawAttribute {
  index: number;
  name: string;
  value?: string;
  /** What stands in the entry instead of the truth. */
  valueOffset?: number;
  valueBytes?: number;
  valueInode?: number;
}

/** Entries from `from` on, values from the end of the area downwards, as Linux lays them out. */
function area(attributes: RawAttribute[], areaBytes: number, from: number): Buffer {
  const bytes = Buffer.alloc(areaBytes);
  let at = from;
  let end = areaBytes;
  for (const { index, name, value = "", valueOffset, valueBytes, valueInode = 0 } of attributes) {
    end -= (value.length + 3) & ~3;
    bytes.write(value, end, "latin1");
    bytes.set([name.length, index], at);
    bytes.writeUInt16LE(valueOffset ?? end, at + 2);
    bytes.writeUInt32LE(valueInode, at + 4);
    bytes.writeUInt32LE(valueBytes ?? value.length, at + 8);
    bytes.write(name, at + 16, "latin1");
    at += (16 + name.length + 3) & ~3;
  }
  return bytes;
}

function inodeWith(attributes: RawAttribute[], attributeBlock = 0): Inode {
  const magic = Buffer.from([0x00, 0x00, 0x02, 0xea]);
  return { id: 12, tail: Buffer.concat([magic, area(attributes, 92, 0)]), attributeBlock } as unknown as Inode;
}

function blockWith(attributes: RawAttribute[], number: number): Buffer {
  const bytes = area(attributes, BLOCK_BYTES, 32);
  bytes.writeUInt32LE(0xea020000, 0);
  bytes.writeUInt32LE(1, 8);
  bytes.writeUInt32LE(crc32c(crc32cU32(crc32cU32(SEED, number), 0), bytes), 16);
  return bytes;
}

function read(inode: Inode, block: Uint8Array = new Uint8Array(BLOCK_BYTES)): Map<string, string> {
  const disk = Buffer.concat([Buffer.alloc(3 * BLOCK_BYTES), block]);
  const found = readExtendedAttributes(inode, {
    blocks: new MetadataBlocks(memorySource(disk), BLOCK_BYTES, 4),
    checksumSeed: SEED,
    verifiesChecksums: true,
    readValueInode: (id, sizeBytes) => Buffer.from(`${sizeBytes} bytes of inode ${id}`),
  });
  return new Map([...found].map(([name, value]) => [name, Buffer.from(value).toString("latin1")]));
}

describe("extended attributes", () => {
  it("come from the inode, from its block and from inodes of their own", () => {
    const inode = inodeWith(
      [
        { index: USER, name: "a", value: "one" },
        { index: SECURITY, name: "selinux", value: "" },
      ],
      3,
    );
    const block = blockWith(
      [
        { index: USER, name: "b", value: "two\0\xff" },
        { index: USER, name: "c", valueInode: 40, valueBytes: 9000 },
      ],
      3,
    );
    expect([...read(inode, block)]).toEqual([
      ["user.a", "one"],
      ["security.selinux", ""],
      ["user.b", "two\0\xff"],
      ["user.c", "9000 bytes of inode 40"],
    ]);
  });

  it("leave out inline contents, which are read as such", () => {
    const inode = inodeWith([{ index: SYSTEM, name: "data", value: "tail" }]);
    expect(read(inode).size).toBe(0);
    expect(Buffer.from(inlineDataTail(inode)).toString()).toBe("tail");
  });

  it("are none in an inode without the magic", () => {
    expect(read({ id: 12, tail: new Uint8Array(96), attributeBlock: 0 } as unknown as Inode).size).toBe(0);
    expect(read({ id: 12, tail: new Uint8Array(0), attributeBlock: 0 } as unknown as Inode).size).toBe(0);
  });

  it.each([
    {
      what: "a value past the end",
      entry: { valueOffset: 90, valueBytes: 3 },
      message: 'the value of "a" (3 bytes at 90)',
    },
    { what: "a value of 4 GiB", entry: { valueBytes: 0xffffffff }, message: "4294967295 bytes" },
    { what: "a value inode of 4 GiB", entry: { valueInode: 40, valueBytes: 0xffffffff }, message: "4294967295 bytes" },
  ])("with $what are refused", ({ entry, message }) => {
    expect(() => read(inodeWith([{ index: USER, name: "a", ...entry }]))).toThrow(message);
  });

  it("with a name past the end are refused", () => {
    const inode = inodeWith([]);
    inode.tail.set([200, USER], 4);
    expect(() => read(inode)).toThrow(
      "ext4 inode 12 at attributes in the inode: the entry at byte 0 reaches past the end",
    );
  });

  it.each([
    { what: "outside of the file system", number: 4, message: "block 4 is outside" },
    { what: "that is none", number: 2, message: "attribute block 2: it does not begin as an attribute block" },
  ])("in a block $what are refused", ({ number, message }) => {
    expect(() => read(inodeWith([], number))).toThrow(message);
  });

  it("in a damaged block are refused", () => {
    const block = blockWith([{ index: USER, name: "b", value: "two" }], 3);
    block[1000] = 1;
    expect(() => read(inodeWith([], 3), block)).toThrow("attribute block 3, h_checksum");
  });
});
