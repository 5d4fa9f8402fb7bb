import { describe, expect, it } from "vitest";
import { memorySource } from "../sub-source.ts";
import { crc32c } from "./checksums.ts";
import { runsOfExtentTree } from "./extent-tree.ts";
import type { Inode } from "./inode.ts";
import { MetadataBlocks } from "./metadata-blocks.ts";

const BLOCK_BYTES = 1024;
const BLOCKS = 64;
const SEED = 0x12345678;

type Extent = { first: number; length: number; source: number };
type Index = { first: number; child: number };

/** A node with room for `max` entries; those with a child make it an interior one. */
function node(entries: (Extent | Index)[], { depth = 0, max = 4, bytes = 60, magic = 0xf30a } = {}): Uint8Array {
  const node = new Uint8Array(bytes);
  const view = new DataView(node.buffer);
  [magic, entries.length, max, depth].forEach((value, index) => {
    view.setUint16(index * 2, value, true);
  });
  entries.forEach((entry, index) => {
    const at = 12 + index * 12;
    view.setUint32(at, entry.first, true);
    if ("child" in entry) view.setUint32(at + 4, entry.child, true);
    else {
      view.setUint16(at + 4, entry.length, true);
      view.setUint32(at + 8, entry.source, true);
    }
  });
  return node;
}

const block = (entries: (Extent | Index)[], depth = 0): Uint8Array =>
  node(entries, { depth, max: 84, bytes: BLOCK_BYTES });

function runsOf(root: Uint8Array, children: Record<number, Uint8Array> = {}, verifies = false) {
  const disk = new Uint8Array(BLOCKS * BLOCK_BYTES);
  for (const [number, bytes] of Object.entries(children)) disk.set(bytes, Number(number) * BLOCK_BYTES);
  const inode = { id: 12, blockArea: root, checksumSeed: SEED } as unknown as Inode;
  return runsOfExtentTree(inode, new MetadataBlocks(memorySource(disk), BLOCK_BYTES, BLOCKS), verifies);
}

describe("an extent tree", () => {
  it("is read through its interior nodes", () => {
    const root = node(
      [
        { first: 0, child: 10 },
        { first: 100, child: 11 },
      ],
      { depth: 2 },
    );
    const runs = runsOf(root, {
      10: block([{ first: 0, child: 20 }], 1),
      11: block(
        [
          { first: 100, child: 21 },
          { first: 200, child: 22 },
        ],
        1,
      ),
      20: block([{ first: 2, length: 3, source: 30 }]),
      21: block([{ first: 100, length: 1, source: 40 }]),
      22: block([]),
    });
    expect(runs.find(1)).toEqual({ sourceBlock: 0, countBlocks: 1 });
    expect(runs.find(3)).toEqual({ sourceBlock: 31, countBlocks: 2 });
    expect(runs.find(100)).toEqual({ sourceBlock: 40, countBlocks: 1 });
    expect(runs.count).toBe(2);
  });

  it("shows reserved blocks as a hole: a length above 32768 means not written", () => {
    const runs = runsOf(
      node([
        { first: 0, length: 32768 + 5, source: 30 },
        { first: 5, length: 2, source: 35 },
      ]),
    );
    expect(runs.find(0)).toEqual({ sourceBlock: 0, countBlocks: 5 });
    expect(runs.find(5)).toEqual({ sourceBlock: 35, countBlocks: 2 });
  });

  it("is believed only when its blocks have the right checksum", () => {
    const leaf = block([{ first: 0, length: 1, source: 30 }]);
    new DataView(leaf.buffer).setUint32(12 + 84 * 12, crc32c(SEED, leaf, 0, 12 + 84 * 12), true);
    const root = node([{ first: 0, child: 10 }], { depth: 1 });
    expect(runsOf(root, { 10: leaf }, true).count).toBe(1);
    leaf[20] = 31;
    expect(() => runsOf(root, { 10: leaf }, true)).toThrow("ext4 inode 12 at extent block 10, et_checksum");
  });

  const index = (child: number, first = 0): Index => ({ first, child });
  it.each([
    { what: "no magic", root: node([], { magic: 0xf30b }), message: "magic 0xf30b instead of 0xf30a" },
    {
      what: "more entries than room",
      root: node([index(1), index(2)], { max: 1, depth: 1 }),
      message: "2 entries do not fit",
    },
    { what: "more room than bytes", root: node([], { max: 1000 }), message: undefined },
    { what: "six levels", root: node([index(10)], { depth: 6 }), message: "depth 6 instead of at most 5" },
    { what: "a child of the wrong level", root: node([index(10)], { depth: 2 }), message: "depth 0 instead of 1" },
    { what: "itself as a child", root: node([index(11)], { depth: 3 }), message: "depth 2 instead of 1" },
    { what: "a child outside", root: node([index(BLOCKS)], { depth: 1 }), message: `block ${BLOCKS} is outside` },
    { what: "block 0 as a child", root: node([index(0)], { depth: 1 }), message: "block 0 is outside" },
    {
      what: "extents that overlap",
      root: node([
        { first: 0, length: 5, source: 30 },
        { first: 4, length: 1, source: 40 },
      ]),
      message: "entry 1 is not in ascending order",
    },
    {
      what: "an extent that reaches into the next index",
      root: node([index(10), index(10, 4)], { depth: 1 }),
      message: "extent 0 reaches into the next one",
    },
    {
      what: "the same child twice",
      root: node([index(12), index(12, 4)], { depth: 1 }),
      message: "not in ascending order",
    },
    { what: "an empty extent", root: node([{ first: 0, length: 0, source: 30 }]), message: "is empty" },
    {
      what: "data outside",
      root: node([{ first: 0, length: 2, source: BLOCKS - 1 }]),
      message: `block ${BLOCKS} is outside`,
    },
  ])("with $what is refused", ({ root, message }) => {
    const children = {
      10: block([{ first: 0, length: 5, source: 30 }]),
      11: block([index(11)], 2),
      12: block([{ first: 0, length: 1, source: 30 }]),
    };
    if (message === undefined) expect(runsOf(root, children).count).toBe(0);
    else expect(() => runsOf(root, children)).toThrow(message);
  });

  it("that visits empty leaves over and over ends", () => {
    const many = Array.from({ length: 84 }, (_, first): Index => ({ first, child: 10 }));
    const root = node([index(11)], { depth: 2 });
    expect(() => runsOf(root, { 10: block([]), 11: block(many, 1) })).toThrow("it has more blocks than the disk");
  });
});
