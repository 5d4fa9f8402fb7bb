import { describe, expect, it } from "vitest";
import { memorySource } from "../sub-source.ts";
import { openExt4 } from "./index.ts";
import { readSuperblock } from "./superblock.ts";

/** A small ext4 without checksums: 64 blocks of 1 KiB in one group. Fields by their byte in the superblock. */
function image(fields: Record<number, number> = {}, sizeBytes = 64 * 1024): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  const sound: Record<number, number> = {
    0: 16,
    4: 64,
    20: 1,
    24: 0,
    32: 8192,
    40: 16,
    56: 0xef53,
    76: 1,
    84: 11,
    88: 256,
    96: 0x42,
  };
  for (const [at, value] of Object.entries({ ...sound, ...fields })) bytes.writeUInt32LE(value, 1024 + Number(at));
  return bytes;
}

describe("an ext4 superblock", () => {
  it("tells geometry", () => {
    expect(readSuperblock(memorySource(image()))).toMatchObject({
      blockBytes: 1024,
      blocksCount: 64,
      groupsCount: 1,
      inodeBytes: 256,
    });
  });

  it.each([
    {
      what: "encrypt",
      fields: { 96: 0x10042 },
      message: "the file system uses encrypt (names and contents are encrypted)",
    },
    { what: "casefold", fields: { 96: 0x20042 }, message: "casefold (names match whatever their case)" },
    { what: "compression", fields: { 96: 0x1 }, message: "compression" },
    { what: "dirdata", fields: { 96: 0x1000 }, message: "dirdata" },
    {
      what: "a journal device",
      fields: { 96: 0x8 },
      message: "journal_dev (this is the journal of another file system)",
    },
    { what: "a feature of the future", fields: { 96: 0x80000042 }, message: "unknown incompatible feature 0x80000000" },
    { what: "two at once", fields: { 96: 0x30042 }, message: /encrypt .*, casefold / },
    {
      what: "an external journal that needs recovery",
      fields: { 92: 0x4, 96: 0x46 },
      message: "lies on another device (journal_dev)",
    },
    { what: "GNU Hurd as its creator", fields: { 72: 1 }, message: "GNU Hurd" },
    { what: "a wrong checksum", fields: { 100: 0x400, 372: 0x100 }, message: "s_checksum (byte 1020): it is 0x0" },
    { what: "blocks of 128 KiB", fields: { 24: 7 }, message: "s_log_block_size (byte 24): 7 makes no sense" },
    { what: "more blocks than the source", fields: { 4: 65 }, message: "the image is truncated" },
    { what: "no blocks", fields: { 4: 0 }, message: "s_blocks_count" },
    { what: "no blocks per group", fields: { 32: 0 }, message: "s_blocks_per_group" },
    { what: "no inodes per group", fields: { 40: 0 }, message: "s_inodes_per_group" },
    { what: "inodes that do not add up", fields: { 0: 17 }, message: "s_inodes_count" },
    { what: "more inodes than would fit", fields: { 0: 8192, 40: 8192 }, message: "s_inodes_count" },
    { what: "inodes of 100 bytes", fields: { 88: 100 }, message: "s_inode_size" },
    { what: "inodes larger than a block", fields: { 88: 2048 }, message: "s_inode_size" },
    { what: "descriptors of 0 bytes", fields: { 96: 0xc2 }, message: "s_desc_size" },
  ])("with $what is refused", ({ fields, message }) => {
    expect(() => openExt4(memorySource(image(fields as Record<number, number>)))).toThrow(message);
  });

  it.each([
    { name: "squashfs", offset: 0, magic: "hsqs" },
    { name: "btrfs", offset: 65600, magic: "_BHRfS_M" },
    { name: "f2fs", offset: 1024, magic: "\x10\x20\xf5\xf2" },
    { name: "xfs", offset: 0, magic: "XFSB" },
  ])("is missed with the name of what is there instead: $name", ({ name, offset, magic }) => {
    const bytes = Buffer.alloc(128 * 1024);
    bytes.write(magic, offset, "latin1");
    expect(() => openExt4(memorySource(bytes))).toThrow(
      `this is ${name}, which cannot be read; use an image whose root file system is ext4`,
    );
  });

  it("is missed in a source that is too short or empty", () => {
    expect(() => openExt4(memorySource(new Uint8Array(2047)))).toThrow("the source has only 2047 bytes");
    expect(() => openExt4(memorySource(new Uint8Array(4096)))).toThrow("found magic 0x0 instead of 0xef53");
  });
});
