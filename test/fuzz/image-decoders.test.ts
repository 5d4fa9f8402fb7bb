/**
 * Partition tables and a FAT file system with some bytes changed: they give partitions and files inside the image, or
 * `DecodeError`. 20,000 inputs each; with SOAK set, a million. SEED repeats a run. ext4 has a test of its own.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DecodeError } from "../../src/bytes/decode-error.ts";
import { readFatLayout } from "../../src/disk/fat/boot-sector.ts";
import { openFat } from "../../src/disk/fat/index.ts";
import { readPartitions } from "../../src/disk/partitions.ts";
import { memorySource } from "../../src/disk/sub-source.ts";
import { requireTools } from "../lab/required-tools.ts";
import { SeededRandom } from "../soak/seeded-random.ts";
import { check } from "./fuzzed-decoder.ts";

const INPUTS = process.env.SOAK ? 1_000_000 : 20_000;
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const TIMEOUT_MS = 1_800_000;
const MIB = 1024 * 1024;
const SECTOR_BYTES = 512;
const DAMAGES_MAX = 6;
const TELLING_BYTES = [0, 1, 0x05, 0x0f, 0x7f, 0x80, 0xee, 0xf7, 0xf8, 0xff];
const skipped = requireTools(["sfdisk", "sgdisk", "mkfs.vfat", "mcopy"]);

/** First byte and first byte after. */
type Span = readonly [start: number, end: number];

/** Changes some bytes of these spans, lets the decoder at it, and puts them back. How often it refused. */
function damage(image: Uint8Array, spans: readonly Span[], decode: (image: Uint8Array) => void): number {
  const random = new SeededRandom(seed);
  let refused = 0;
  for (let input = 0; input < INPUTS; input++) {
    const undo: [at: number, byte: number][] = [];
    for (let left = 1 + random.below(DAMAGES_MAX); left > 0; left--) {
      const [start, end] = random.pick(spans);
      const at = start + random.below(end - start);
      undo.unshift([at, image[at]!]);
      image[at] = random.chance(0.5) ? random.pick(TELLING_BYTES) : image[at]! ^ (1 << random.below(8));
    }
    try {
      decode(image);
    } catch (error) {
      if (!(error instanceof DecodeError)) {
        const changed = undo.map(([at]) => `${at}: ${image[at]}`).join(", ");
        throw new Error(`SEED=${seed}, input ${input} (${changed}): ${error}`, { cause: error });
      }
      refused++;
    }
    for (const [at, byte] of undo) image[at] = byte;
  }
  return refused;
}

function partitions(image: Uint8Array): void {
  for (const { startByte, sizeBytes } of readPartitions(memorySource(image)).partitions) {
    check(startByte + sizeBytes <= image.length, "a partition outside of the image");
  }
}

function files(image: Uint8Array): void {
  const volume = openFat(memorySource(image));
  for (const id of volume.usedIds()) {
    const attributes = volume.attributes(id);
    if (attributes?.type === "file") volume.readFileSync(id, new Uint8Array(Math.min(attributes.sizeBytes, 8192)), 0);
  }
}

/** The damage did reach the decoder, and did not stop everything at its first check. */
function expectSomeRefused(refused: number): void {
  expect(refused).toBeGreaterThan(INPUTS * 0.05);
  expect(refused).toBeLessThan(INPUTS * 0.99);
}

describe.skipIf(skipped)(`damaged, with seed ${seed},`, () => {
  const folder = mkdtempSync(join(tmpdir(), "bramble-image-fuzz-"));
  const images = new Map<string, Uint8Array>();

  beforeAll(() => {
    const image = (name: string, sizeBytes: number, make: (path: string) => void) => {
      const path = join(folder, name);
      writeFileSync(path, "");
      truncateSync(path, sizeBytes);
      make(path);
      images.set(name, readFileSync(path));
    };
    const quiet = { stdio: "pipe" } as const;
    const logical = "label: dos\n,1MiB,c,*\n,1MiB,83\n,,5\n,1MiB,83\n,512KiB,82\n";
    image("mbr", 8 * MIB, (path) => execFileSync("sfdisk", [path], { ...quiet, input: logical }));
    const guid = ["-n", "1:0:+1M", "-t", "1:0700", "-n", "2:0:+1M"];
    image("gpt", 8 * MIB, (path) => execFileSync("sgdisk", [...guid, path], quiet));
    const tree = join(folder, "overlays");
    mkdirSync(tree);
    writeFileSync(join(tree, "Long name with ÜMLAUT.dtbo"), "long");
    writeFileSync(join(tree, "some.bin"), Buffer.alloc(9000, "0123456789"));
    image("fat", MIB, (path) => {
      execFileSync("mkfs.vfat", ["-F", "12", path], quiet);
      const env = { ...process.env, LC_ALL: "C.UTF-8" };
      execFileSync("mcopy", ["-s", "-i", path, tree, join(tree, "some.bin"), "::"], { env });
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** The first table, and those of logical partitions. */
  it(
    "an MBR",
    () => {
      const image = images.get("mbr")!;
      const [first] = readPartitions(memorySource(image)).partitions.filter(({ number }) => number >= 5);
      const extended = first!.startByte - MIB;
      const tables: Span[] = [0, extended].map((start) => [start + 440, start + SECTOR_BYTES]);
      const refused = damage(image, tables, partitions);
      expectSomeRefused(refused);
    },
    TIMEOUT_MS,
  );

  /** Checksums refuse most; then the copy at the end is read, which is damaged too. */
  it(
    "a GPT",
    () => {
      const image = images.get("gpt")!;
      const { length } = image;
      const spans: Span[] = [
        [SECTOR_BYTES, SECTOR_BYTES + 92],
        [2 * SECTOR_BYTES, 3 * SECTOR_BYTES],
        [length - SECTOR_BYTES, length - SECTOR_BYTES + 92],
        [length - 33 * SECTOR_BYTES, length - 32 * SECTOR_BYTES],
      ];
      const refused = damage(image, spans, partitions);
      expectSomeRefused(refused);
    },
    TIMEOUT_MS,
  );

  /** Boot sector, the beginning of the tables, directories. */
  it(
    "a FAT",
    () => {
      const image = images.get("fat")!;
      const { dataByte, tableByte } = readFatLayout(memorySource(image));
      const refused = damage(
        image,
        [
          [0, 90],
          [tableByte, tableByte + 64],
          [dataByte - 4096, dataByte],
          [dataByte, dataByte + 4096],
        ],
        files,
      );
      expectSomeRefused(refused);
    },
    TIMEOUT_MS,
  );
});
