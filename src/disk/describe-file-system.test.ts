import { describe, expect, it } from "vitest";
import { describeFileSystem } from "./describe-file-system.ts";
import { memorySource } from "./sub-source.ts";

describe("describeFileSystem", () => {
  it.each([
    { name: "squashfs", offset: 0, magic: "hsqs" },
    { name: "btrfs", offset: 65600, magic: "_BHRfS_M" },
    { name: "f2fs", offset: 1024, magic: "\x10\x20\xf5\xf2" },
    { name: "xfs", offset: 0, magic: "XFSB" },
    { name: "a LUKS encrypted volume", offset: 0, magic: "LUKS\xba\xbe" },
    { name: "FAT", offset: 82, magic: "FAT32   " },
    { name: "ext2, ext3 or ext4", offset: 1080, magic: "\x53\xef" },
  ])("knows $name by its magic", ({ name, offset, magic }) => {
    const bytes = Buffer.alloc(70_000);
    bytes.write(magic, offset, "latin1");
    expect(describeFileSystem(memorySource(bytes))).toBe(name);
  });

  it.each([0, 1, 60, 1081, 65601])("knows nothing of %i zeros", (sizeBytes) => {
    expect(describeFileSystem(memorySource(new Uint8Array(sizeBytes)))).toBeUndefined();
  });
});
