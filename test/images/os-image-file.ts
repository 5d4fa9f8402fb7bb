/** A small disk image laid out as those for the Raspberry Pi: MBR, a FAT partition to boot from, an ext4 root. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { Writer } from "../../src/bytes/writer.ts";

const MIB = 1024 * 1024;
const BOOT_START = MIB;

export const OS_IMAGE_COMMANDS = ["mkfs.vfat", "mcopy", "mke2fs"];

export interface OsImageContents {
  /** Folders whose contents become those of the two partitions. */
  bootTree: string;
  rootTree: string;
  bootMiB?: number;
  rootMiB?: number;
}

/** Writes the image to `path`, the same bytes for the same contents. */
export function makeOsImage(path: string, { bootTree, rootTree, bootMiB = 4, rootMiB = 8 }: OsImageContents): void {
  const [bootBytes, rootBytes] = [bootMiB * MIB, rootMiB * MIB];
  const rootStart = BOOT_START + bootBytes;
  writeFileSync(path, partitionTable(bootBytes, rootBytes));
  truncateSync(path, rootStart + rootBytes);
  const run = (command: string, ...args: string[]): void => {
    execFileSync(command, args, { stdio: "pipe", env: { ...process.env, MTOOLS_SKIP_CHECK: "1", LC_ALL: "C.UTF-8" } });
  };
  run("mkfs.vfat", "--offset", `${BOOT_START / 512}`, "-n", "BOOTFS", "-i", "4e639091", path, `${bootBytes / 1024}`);
  run("sh", "-c", 'mcopy -s -i "$1@@$2" "$3"/* ::', "sh", path, `${BOOT_START}`, bootTree);
  run(
    "mke2fs",
    "-q",
    "-F",
    "-t",
    "ext4",
    "-L",
    "rootfs",
    "-d",
    rootTree,
    "-E",
    `offset=${rootStart}`,
    path,
    `${rootBytes / 1024}k`,
  );
}

/** Overwrites part of a file. */
export function patchFile(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

function partitionTable(bootBytes: number, rootBytes: number): Uint8Array {
  const writer = new Writer(512).zeros(440).u32LE(0x4e639091).zeros(2);
  const entry = (type: number, start: number, size: number): void => {
    writer
      .zeros(4)
      .u8(type)
      .zeros(3)
      .u32LE(start / 512)
      .u32LE(size / 512);
  };
  entry(0x0c, BOOT_START, bootBytes);
  entry(0x83, BOOT_START + bootBytes, rootBytes);
  return writer
    .zeros(510 - writer.lengthBytes)
    .u8(0x55)
    .u8(0xaa)
    .finish();
}
