// A disk image as a Raspberry Pi's card has it: MBR, a FAT partition for the firmware, an ext4 root.
import { execFileSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

const MIB = 1024 * 1024;
const DISK_ID = 0x6272616d;
const BOOT = { startByte: 4 * MIB, sizeBytes: 128 * MIB, type: 0x0c };
const ROOT = { startByte: 132 * MIB, sizeBytes: 64 * MIB, type: 0x83 };
const ROOT_UUID = "6272616d-626c-4564-8d65-6d6f00000001";

/** Runs a program to its end; its words on standard error are the reason when it fails. */
export function run(program, ...words) {
  try {
    return execFileSync(program, words, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, MTOOLS_SKIP_CHECK: "1" },
    });
  } catch (error) {
    const why = String(error.stderr ?? error.message).trim();
    throw new Error(`Cannot build the demo image: ${program} ${words.join(" ")}: ${why}`, { cause: error });
  }
}

/** Files belong to root in the image, whoever builds it. */
function makeExt4(path, folder) {
  run(
    "mke2fs",
    "-q",
    "-t",
    "ext4",
    "-L",
    "rootfs",
    "-U",
    ROOT_UUID,
    "-E",
    "root_owner=0:0",
    "-d",
    folder,
    path,
    `${ROOT.sizeBytes / MIB}M`,
  );
  if (process.getuid() === 0) return;
  const script = join(dirname(path), "owners");
  const inodes = readdirSync(folder, { recursive: true }).map((name) => `"/${name}"`);
  writeFileSync(script, inodes.map((name) => `sif ${name} uid 0\nsif ${name} gid 0\n`).join(""));
  run("debugfs", "-w", "-f", script, path);
}

function makeFat(path, folder) {
  const out = openSync(path, "w");
  ftruncateSync(out, BOOT.sizeBytes);
  closeSync(out);
  run("mkfs.vfat", "-F", "32", "-n", "bootfs", "-i", DISK_ID.toString(16), path);
  run("mcopy", "-s", "-i", path, ...readdirSync(folder).map((name) => join(folder, name)), "::");
}

function masterBootRecord() {
  const sector = Buffer.alloc(512);
  sector.writeUInt32LE(DISK_ID, 440);
  [BOOT, ROOT].forEach((partition, index) => {
    const at = 446 + 16 * index;
    sector.set([0, 0xfe, 0xff, 0xff, partition.type, 0xfe, 0xff, 0xff], at);
    sector.writeUInt32LE(partition.startByte / 512, at + 8);
    sector.writeUInt32LE(partition.sizeBytes / 512, at + 12);
  });
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** Copies a partition into the image and leaves its zeros as a hole. */
function copySparse(image, path, offset) {
  const source = openSync(path, "r");
  const chunk = Buffer.alloc(MIB);
  const zeros = Buffer.alloc(MIB);
  for (let at = 0; ; at += chunk.length) {
    const lengthBytes = readSync(source, chunk, 0, chunk.length, at);
    if (lengthBytes === 0) break;
    if (!chunk.subarray(0, lengthBytes).equals(zeros.subarray(0, lengthBytes)))
      writeSync(image, chunk, 0, lengthBytes, offset + at);
  }
  closeSync(source);
}

/** Makes `output` from the contents of two folders; needs a third, `workFolder`, to work in. */
export function writeDiskImage(output, bootFolder, rootFolder, workFolder) {
  const boot = join(workFolder, "boot.img");
  const root = join(workFolder, "root.img");
  makeFat(boot, bootFolder);
  makeExt4(root, rootFolder);
  const image = openSync(`${output}.part`, "w");
  ftruncateSync(image, ROOT.startByte + ROOT.sizeBytes);
  writeSync(image, masterBootRecord(), 0, 512, 0);
  copySparse(image, boot, BOOT.startByte);
  copySparse(image, root, ROOT.startByte);
  closeSync(image);
  renameSync(`${output}.part`, output);
}
