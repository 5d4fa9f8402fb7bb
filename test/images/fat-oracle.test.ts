import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openFat } from "../../src/disk/fat/index.ts";
import { readPartitions } from "../../src/disk/partitions.ts";
import { subSource } from "../../src/disk/sub-source.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { withMount } from "./loop-mount.ts";
import { missingRequirement } from "./requirements.ts";
import { differences, type Listing, listImage, listMount } from "./tree-listing.ts";

const MIB = 1024 * 1024;
/** As `vfat` mounts for root by default, but for names in UTF-8 and times that do not depend on where we are. */
const OPTIONS = "uid=0,gid=0,umask=0022,utf8=1,tz=UTC";

const FORMATS = [
  { kind: "fat12", sizeMiB: 4, args: ["-F", "12"] },
  { kind: "fat16", sizeMiB: 32, args: ["-F", "16"] },
  { kind: "fat32", sizeMiB: 80, args: ["-F", "32"] },
  { kind: "fat32", sizeMiB: 300, args: ["-F", "32", "-S", "4096", "-s", "1"] },
  { kind: "fat16", sizeMiB: 64, args: ["-F", "16", "-s", "128", "-f", "1", "-r", "1024"] },
] as const;

const missing = missingRequirement({ root: true, commands: ["mkfs.vfat", "mcopy", "mmd", "mount", "losetup", "xz"] });

describe.skipIf(missing)("FAT volumes against the kernel", () => {
  let folder = "";
  let path = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-fat-"));
  });
  beforeEach(() => {
    path = join(folder, "volume");
    rmSync(path, { force: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function format(sizeMiB: number, args: readonly string[]): void {
    writeFileSync(path, "");
    truncateSync(path, sizeMiB * MIB);
    execFileSync("mkfs.vfat", ["-n", "BOOTFS", "-i", "4e639091", ...args, path], { stdio: "pipe" });
  }

  function expectAsTheKernel(imagePath: string, place: { startByte?: number; sizeBytes?: number } = {}): void {
    const file = openFileSource(imagePath);
    const volume = openFat(subSource(file, place.startByte ?? 0, place.sizeBytes ?? file.sizeBytes));
    try {
      const theirs = withMount(imagePath, { fileSystem: "vfat", options: `ro,${OPTIONS}`, ...place }, (mountPoint) =>
        listMount(mountPoint),
      );
      expect(differences(withoutIds(listImage(volume)), withoutIds(theirs))).toEqual([]);
    } finally {
      file.close();
    }
  }

  it.each(FORMATS)("reads $kind made with $args", ({ kind, sizeMiB, args }) => {
    format(sizeMiB, args);
    withMount(path, { fileSystem: "vfat", options: OPTIONS }, (mountPoint) => writeAwkwardFiles(mountPoint));
    expectAsTheKernel(path);
    const volume = openFat(openFileSource(path));
    expect(volume).toMatchObject({ kind, label: "BOOTFS", uuid: "4E63-9091" });
    const statfs = withMount(path, { fileSystem: "vfat", options: `ro,${OPTIONS}` }, (mountPoint) =>
      execFileSync("stat", ["-f", "-c", "%b %f %S", mountPoint], { encoding: "utf8" }),
    );
    const [blocks = 0, free = 0, blockBytes = 0] = statfs.split(" ").map(Number);
    expect(volume.sizeBytes).toBe(blocks * blockBytes);
    expect(volume.freeBytes).toBe(free * blockBytes);
    volume.close();
  });

  it("reads what mtools wrote, code page and lower-case flags included", () => {
    format(40, ["-F", "32"]);
    const tree = join(folder, "mtools");
    mkdirSync(join(tree, "overlays"), { recursive: true });
    for (const name of ["CONFIG.TXT", "cmdline.txt", "Mixed.Txt", "größe.txt", "a name with spaces.dat", "ÄÖÜ.TXT"]) {
      writeFileSync(join(tree, "overlays", name), name.repeat(500));
    }
    execFileSync("mcopy", ["-s", "-i", path, join(tree, "overlays"), "::"], {
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
    expectAsTheKernel(path);
  });

  it("reads any tree the kernel can write", () => {
    const name = fc.oneof(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((text) => isVfatName(text)),
      fc.stringMatching(/^[a-zA-Z0-9_]{1,9}\.[a-zA-Z]{1,4}$/),
    );
    const file = fc.record({ folder: fc.nat(), name, bytes: fc.nat({ max: 20_000 }) });
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: file.map((made) => ({ kind: "file" as const, ...made })) },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant("folder" as const), folder: fc.nat(), name }) },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }) },
      ),
      { maxLength: 120 },
    );
    fc.assert(
      fc.property(fc.constantFrom(...FORMATS.slice(0, 3)), steps, ({ sizeMiB, args }, made) => {
        format(sizeMiB, args);
        withMount(path, { fileSystem: "vfat", options: OPTIONS }, (mountPoint) => {
          const folders = [mountPoint];
          const files: string[] = [];
          for (const step of made) {
            if (step.kind === "remove") {
              const [victim] = files.splice(step.which % Math.max(1, files.length), 1);
              if (victim !== undefined) rmSync(victim, { force: true });
              continue;
            }
            const target = join(folders[step.folder % folders.length] ?? mountPoint, step.name);
            if (existsSync(target)) continue;
            if (step.kind === "folder") {
              mkdirSync(target);
              folders.push(target);
            } else {
              writeFileSync(target, Buffer.alloc(step.bytes, step.name));
              files.push(target);
            }
          }
        });
        expectAsTheKernel(path);
      }),
      { numRuns: 25 },
    );
  }, 120_000);

  const debian = new URL("../../../shared/images/debian-12-pi-arm64.img.xz", import.meta.url).pathname;
  it.skipIf(!existsSync(debian))(
    "reads the boot partition of a Debian image",
    () => {
      const disk = join(folder, "debian.img");
      execFileSync("sh", ["-c", 'xz -T0 -dc "$1" > "$2"', "sh", debian, disk]);
      const file = openFileSource(disk);
      const boot = readPartitions(file).partitions[0];
      file.close();
      if (boot === undefined) throw new Error("the image has no partitions");
      expectAsTheKernel(disk, { startByte: boot.startByte, sizeBytes: boot.sizeBytes });
      rmSync(disk);
    },
    60_000,
  );
});

/** The kernel makes up inode numbers for FAT as it goes. */
function withoutIds(listing: Listing): Listing {
  return new Map([...listing].map(([path, { id: _id, ...facts }]) => [path, facts]));
}

/** Linux takes such a name on vfat, and gives the same one back. */
function isVfatName(text: string): boolean {
  const utf16 = text.length;
  const isPlain = !/[\p{Cc}\p{Cs}\ufffd"*/:<>?\\|]/u.test(text) && !/^\.|[. ]$|^ /.test(text);
  return isPlain && utf16 <= 255 && Buffer.byteLength(text) <= 255;
}

/** Fragments, holes in directories, names and sizes of every kind. */
function writeAwkwardFiles(root: string): void {
  const big = Buffer.alloc(70_000, "0123456789abcdefghijklmnopqrstuvwxyz");
  for (let index = 0; index < 12; index += 1) writeFileSync(join(root, `filler${index}.bin`), big);
  for (let index = 0; index < 12; index += 2) rmSync(join(root, `filler${index}.bin`));
  writeFileSync(join(root, "fragmented.img"), Buffer.concat(Array.from({ length: 7 }, () => big)));
  writeFileSync(join(root, "empty"), "");
  writeFileSync(join(root, "one cluster exactly"), Buffer.alloc(4096, 1));
  for (const name of ["README", "lower.txt", "UPPER.TXT", "lower.TXT", "UPPER.txt", "Mixed.txt", ".hidden", "a.b.c"]) {
    writeFileSync(join(root, name), name);
  }
  for (const name of [
    "größe.txt",
    "日本語のファイル名.txt",
    "emoji 🍓.png",
    "x".repeat(255),
    "+,;=[].txt",
    "trailing.dots..x",
  ]) {
    writeFileSync(join(root, name), name);
  }
  const deep = join(root, "overlays", "deep", "er");
  mkdirSync(deep, { recursive: true });
  for (let index = 0; index < 300; index += 1) {
    writeFileSync(join(root, "overlays", `a long overlay name number ${index}.dtbo`), `${index}`);
  }
  for (let index = 0; index < 300; index += 3)
    rmSync(join(root, "overlays", `a long overlay name number ${index}.dtbo`));
  writeFileSync(join(deep, "late"), readFileSync(join(root, "fragmented.img")).subarray(0, 12_345));
  utimesSync(join(deep, "late"), new Date("2001-02-03T04:05:06Z"), new Date("2099-12-31T23:59:58Z"));
  utimesSync(join(root, "empty"), new Date("1980-01-01T00:00:00Z"), new Date("1980-01-01T00:00:00Z"));
}
