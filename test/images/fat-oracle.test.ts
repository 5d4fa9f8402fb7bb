import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFat } from "../../src/disk/fat/index.ts";
import type { FileSystemImage } from "../../src/disk/file-system-image.ts";
import { readPartitions } from "../../src/disk/partitions.ts";
import { subSource } from "../../src/disk/sub-source.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { missingImages } from "../lab/images.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { VFAT_COMMANDS, type VfatCase, type VfatView, viewByKernel } from "./vfat-kernel.ts";

const MIB = 1024 * 1024;

const FORMATS = [
  { kind: "fat12", sizeMiB: 4, args: ["-F", "12"] },
  { kind: "fat16", sizeMiB: 32, args: ["-F", "16"] },
  { kind: "fat32", sizeMiB: 80, args: ["-F", "32"] },
  { kind: "fat32", sizeMiB: 300, args: ["-F", "32", "-S", "4096", "-s", "1"] },
  { kind: "fat16", sizeMiB: 300, args: ["-F", "16", "-s", "128", "-f", "1", "-r", "1024"] },
] as const;

const missing = requireRoot() || requireTools(["mkfs.vfat", "mcopy", "losetup", "xz", ...VFAT_COMMANDS]);

describe.skipIf(missing)("FAT volumes against the kernel", () => {
  let folder = "";
  let made = 0;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-fat-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function format({ sizeMiB, args }: { sizeMiB: number; args: readonly string[] }, script?: string): VfatCase {
    made += 1;
    const path = join(folder, `volume${made}`);
    writeFileSync(path, "");
    truncateSync(path, sizeMiB * MIB);
    execFileSync("mkfs.vfat", ["-n", "BOOTFS", "-i", "4e639091", ...args, path], { stdio: "pipe" });
    return { path, sizeBytes: sizeMiB * MIB, ...(script !== undefined && { script }) };
  }

  /** Lets the kernel work on the volumes and list them, and compares what we see. */
  function expectAsTheKernel(
    cases: readonly VfatCase[],
    inspect?: (volume: FileSystemImage, index: number) => void,
  ): void {
    made += 1;
    const work = join(folder, `kernel${made}`);
    mkdirSync(work);
    viewByKernel(work, cases).forEach((theirs, index) => {
      const { path, startByte = 0, sizeBytes } = cases[index] ?? { path: "", sizeBytes: 0 };
      const file = openFileSource(path);
      try {
        const volume = openFat(subSource(file, startByte, sizeBytes));
        expect(viewOf(volume)).toEqual(theirs);
        inspect?.(volume, index);
      } finally {
        file.close();
        rmSync(path);
      }
    });
  }

  it("reads FAT12, FAT16 and FAT32 with every awkward kind of file", () => {
    const cases = FORMATS.map((one) => format(one, AWKWARD_FILES));
    expectAsTheKernel(cases, (volume, index) => {
      expect(volume).toMatchObject({ kind: FORMATS[index]?.kind, label: "BOOTFS", uuid: "4E63-9091" });
      expect(volume.entries(volume.rootId).length).toBeGreaterThan(20);
    });
  }, 60_000);

  it("reads what mtools wrote, code page and lower-case flags included", () => {
    const volume = format({ sizeMiB: 40, args: ["-F", "32"] });
    const tree = join(folder, "mtools");
    mkdirSync(join(tree, "overlays"), { recursive: true });
    for (const name of ["CONFIG.TXT", "cmdline.txt", "Mixed.Txt", "größe.txt", "a name with spaces.dat", "ÄÖÜ.TXT"]) {
      writeFileSync(join(tree, "overlays", name), name.repeat(500));
    }
    const env = { ...process.env, LC_ALL: "C.UTF-8" };
    execFileSync("mcopy", ["-s", "-i", volume.path, join(tree, "overlays"), "::"], { env });
    expectAsTheKernel([volume]);
  }, 60_000);

  it("reads any tree the kernel can write", () => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    const trees = fc.sample(treeScript, { numRuns: 15, seed });
    try {
      expectAsTheKernel(trees.map((script, index) => format(FORMATS[index % 3] ?? FORMATS[0], script)));
    } catch (error) {
      throw new Error(`Seen with SEED=${seed}`, { cause: error });
    }
  }, 120_000);

  const debian = new URL("../../../shared/images/debian-12-pi-arm64.img.xz", import.meta.url).pathname;
  it.skipIf(missingImages())(
    "reads the boot partition of a Debian image",
    () => {
      const path = join(folder, "debian.img");
      execFileSync("sh", ["-c", 'xz -T0 -dc "$1" > "$2"', "sh", debian, path]);
      const file = openFileSource(path);
      const boot = readPartitions(file).partitions[0];
      file.close();
      if (boot === undefined) throw new Error("the image has no partitions");
      expectAsTheKernel([{ path, startByte: boot.startByte, sizeBytes: boot.sizeBytes }]);
    },
    60_000,
  );
});

/** What we see, in the words of `vfat-kernel.sh`. */
function viewOf(volume: FileSystemImage): VfatView {
  const entries = new Map<string, string>();
  const visit = (id: number, path: string): void => {
    const found = volume.attributes(id);
    if (found === undefined) throw new Error(`${path} leads to ${id}, which is not in use`);
    const seconds = (ns: bigint): string => `${ns / 1_000_000_000n}`;
    let hash = "-";
    if (found.type === "file") {
      const content = new Uint8Array(found.sizeBytes);
      expect(volume.readFileSync(id, content, 0)).toBe(content.length);
      hash = createHash("sha256").update(content).digest("hex");
    }
    entries.set(
      path,
      [
        found.type[0],
        found.mode.toString(8),
        found.linkCount,
        found.sizeBytes,
        found.usedBytes / 512,
        seconds(found.mtimeNs),
        seconds(found.atimeNs),
        hash,
      ].join(" "),
    );
    if (found.type !== "directory") return;
    for (const { name, id: child } of volume.entries(id)) {
      expect(volume.lookup(id, name)).toBe(child);
      visit(child, `${path}/${name}`);
    }
  };
  visit(volume.rootId, ".");
  return { entries, totalBytes: volume.sizeBytes, freeBytes: volume.freeBytes };
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const writeFile = (path: string, bytes: number): string => `yes ${quote(path)} | head -c ${bytes} > ${quote(path)}`;

/** Fragments, gaps in directories, names and sizes of every kind. */
const AWKWARD_FILES = [
  ...Array.from({ length: 12 }, (_, index) => writeFile(`filler${index}.bin`, 70_000)),
  "rm filler[02468].bin",
  writeFile("fragmented.img", 490_000),
  writeFile("empty", 0),
  writeFile("one cluster exactly", 4096),
  ...["README", "lower.txt", "UPPER.TXT", "lower2.TXT", "UPPER2.txt", "Mixed.txt", ".hidden", "a.b.c", "+,;=[].txt"]
    .concat(["größe.txt", "日本語のファイル名.txt", "emoji 🍓.png", "x".repeat(255), "trailing.dots..x", "ÄÖÜ"])
    .map((name) => writeFile(name, 100)),
  "mkdir -p overlays/deep/er",
  "for i in $(seq 120); do echo $i > overlays/'a long overlay name number '$i.dtbo; done",
  "rm overlays/*[147].dtbo",
  writeFile("overlays/deep/er/late", 12_345),
  "touch -d '2099-12-31 23:59:58 UTC' overlays/deep/er/late",
  "touch -d '1980-01-01 00:00:00 UTC' empty",
].join("\n");

/** A shell script that makes and removes files and folders. */
const treeScript = (() => {
  const isVfatName = (text: string): boolean =>
    !/[\p{Cc}\p{Cs}\ufffd"*/:<>?\\|]/u.test(text) && !/^\.+$|[. ]$|^ /.test(text) && Buffer.byteLength(text) <= 255;
  const name = fc.oneof(
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter(isVfatName),
    fc.stringMatching(/^[a-zA-Z0-9_]{1,9}\.[a-zA-Z]{1,4}$/),
  );
  const removeFile = (line: number): string =>
    `find . -maxdepth 1 -type f | sort | sed -n ${line}p | tr '\\n' '\\0' | xargs -0 -r rm --`;
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(name, fc.nat({ max: 20_000 })).map(([path, bytes]) => writeFile(path, bytes)) },
    { weight: 2, arbitrary: name.map((path) => `mkdir ${quote(path)} && cd ${quote(path)}`) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 9 }).map(removeFile) },
    { weight: 1, arbitrary: fc.constant('[ "$PWD" = "$top" ] || cd ..') },
  );
  // A name that is there already in another case, or as a folder, is refused: the script goes on.
  return fc
    .array(step, { maxLength: 80 })
    .map((steps) => ["top=$PWD", ...steps.map((one) => `${one} || true`)].join("\n"));
})();
