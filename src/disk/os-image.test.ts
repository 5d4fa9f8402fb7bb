import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeOsImage, OS_IMAGE_COMMANDS } from "../../test/images/os-image-file.ts";
import { requireTools } from "../../test/lab/required-tools.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { imageFiles } from "./image-files.ts";
import { openOsImage } from "./os-image.ts";
import { memorySource } from "./sub-source.ts";

const MIB = 1024 * 1024;
const BOOT_START = MIB;
const ROOT_START = 5 * MIB;

const missing = requireTools([...OS_IMAGE_COMMANDS, "sgdisk"]);

describe.skipIf(missing)("openOsImage()", () => {
  let folder = "";
  let path = "";
  let pristine: Uint8Array = new Uint8Array(0);
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-os-image-"));
    path = join(folder, "image");
    const [bootTree, rootTree] = [join(folder, "boot"), join(folder, "root")];
    mkdirSync(bootTree);
    mkdirSync(join(rootTree, "etc"), { recursive: true });
    writeFileSync(join(bootTree, "cmdline.txt"), "root=PARTUUID=4e639091-02\n");
    writeFileSync(join(rootTree, "etc/os-release"), "ID=raspbian\n");
    makeOsImage(path, { bootTree, rootTree });
    pristine = readFileSync(path);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function image(...changes: [offset: number, content: string | number[]][]): Uint8Array {
    const bytes = Uint8Array.from(pristine);
    for (const [offset, content] of changes)
      bytes.set(typeof content === "string" ? Buffer.from(content) : content, offset);
    return bytes;
  }

  it("finds the boot and the root partition of an image laid out as Raspberry Pi OS", () => {
    const opened = openOsImage(memorySource(pristine));
    expect(opened.diskId).toBe("4e639091");
    expect([opened.bootPartition.number, opened.rootPartition.number]).toEqual([1, 2]);
    expect(opened.rootPartition.partUuid).toBe("4e639091-02");
    expect([opened.boot.label, opened.root.label]).toEqual(["BOOTFS", "rootfs"]);
    expect(imageFiles(opened.boot).list("/")).toEqual(["cmdline.txt"]);
    expect(imageFiles(opened.root).exists("/etc/os-release")).toBe(true);
    opened.close();
  });

  it("finds them in a GPT too", () => {
    const gpt = join(folder, "gpt");
    writeFileSync(gpt, Buffer.concat([pristine, Buffer.alloc(MIB)]));
    const table = ["-Z", gpt];
    execFileSync("sgdisk", table, { stdio: "pipe" });
    execFileSync("sgdisk", ["-n3:2048:10239", "-n7:10240:26623", "-c7:root", gpt], { stdio: "pipe" });
    const opened = openOsImage(memorySource(readFileSync(gpt)));
    expect([opened.bootPartition.number, opened.rootPartition.number, opened.rootPartition.name]).toEqual([
      3,
      7,
      "root",
    ]);
    expect(imageFiles(opened.root).exists("/etc/os-release")).toBe(true);
  });

  /** A third partition, which the table lists first or last, with a copy of the root that has these changes. */
  function withThird(isFirst: boolean, ...changes: [offset: number, content: number[]][]): Uint8Array {
    const start = pristine.length;
    const bytes = Buffer.concat([image(), pristine.subarray(ROOT_START)]);
    const entry = Buffer.from(bytes.subarray(462, 478));
    entry.writeUInt32LE(start / 512, 8);
    if (isFirst) bytes.copy(bytes, 478, 462, 478);
    bytes.set(entry, isFirst ? 462 : 478);
    for (const [offset, content] of changes) bytes.set(content, start + offset);
    return bytes;
  }
  /** Not only not a superblock, but one whose checksum is wrong. */
  const damage: [number, number[]] = [1024 + 0x60, [0xff, 0xff]];

  it.each([
    ["behind", false, 2],
    ["before", true, 3],
  ])("finds the root %s which there is a file system that cannot be read", (_title, isFirst, number) => {
    const opened = openOsImage(memorySource(withThird(isFirst, damage)));
    expect(opened.rootPartition).toMatchObject({ number, startByte: ROOT_START });
  });

  it("does not take a file system without a system for the root when another one cannot be read", () => {
    const data = join(folder, "data");
    makeOsImage(data, { bootTree: join(folder, "boot"), rootTree: join(folder, "boot") });
    const alone = readFileSync(data);
    expect(openOsImage(memorySource(alone)).rootPartition.number).toBe(2);
    const bytes = withThird(false, damage);
    bytes.set(alone.subarray(ROOT_START), ROOT_START);
    expect(() => openOsImage(memorySource(bytes))).toThrow("Cannot read ext4 superblock");
  });

  const noRoot = (holds: string) =>
    `there is no ext4 root partition, the only kind that can be served: partition 1 holds FAT, partition 2 holds ${holds}`;
  const withoutExt = [ROOT_START + 1080, [0, 0]] as [number, number[]];

  it.each<[string, () => Uint8Array, string]>([
    ["a squashfs root", () => image(withoutExt, [ROOT_START, "hsqs"]), noRoot("squashfs")],
    ["a btrfs root", () => image(withoutExt, [ROOT_START + 0x10040, "_BHRfS_M"]), noRoot("btrfs")],
    ["an f2fs root", () => image(withoutExt, [ROOT_START + 1024, [0x10, 0x20, 0xf5, 0xf2]]), noRoot("f2fs")],
    ["an xfs root", () => image(withoutExt, [ROOT_START, "XFSB"]), noRoot("xfs")],
    [
      "an encrypted root",
      () => image(withoutExt, [ROOT_START, "LUKS\xba\xbe".split("").map((one) => one.charCodeAt(0))]),
      noRoot("a LUKS encrypted volume"),
    ],
    ["an unknown root", () => image(withoutExt), noRoot("unknown data")],
    [
      "an image without a FAT partition",
      () => image([BOOT_START, new Array(512).fill(0)]),
      "there is no FAT partition to boot from: partition 1 holds unknown data, partition 2 holds ext2, ext3 or ext4",
    ],
    [
      "an ISO",
      () => image([0x8001, "CD001"]),
      "it is an ISO 9660 image, which installs a system; use the image of an installed system",
    ],
    [
      "a bare ext4 file system",
      () => pristine.subarray(ROOT_START),
      "it holds ext2, ext3 or ext4 without a partition table; use the image of a whole disk",
    ],
    ["a bare FAT volume", () => pristine.subarray(BOOT_START, ROOT_START), "it holds FAT without a partition table"],
    [
      "an empty table",
      () => image([446, new Array(64).fill(0)]),
      "there is no FAT partition to boot from: the table is empty",
    ],
    ["an empty file", () => new Uint8Array(0), "the file is empty"],
    [
      "a truncated image",
      () => pristine.subarray(0, 7 * MIB),
      "the image is truncated: it has 7340032 bytes, and the partition ends at byte 13631488",
    ],
  ])("refuses %s", (_title, make, message) => {
    const source = memorySource(make());
    expect(() => openOsImage(source)).toThrow(message);
    expect(() => openOsImage(source)).toThrow(DecodeError);
  });
});
