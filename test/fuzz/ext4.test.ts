import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DecodeError } from "../../src/bytes/decode-error.ts";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import type { FileSystemImage } from "../../src/disk/file-system-image.ts";
import { memorySource } from "../../src/disk/sub-source.ts";
import { makeExt4 } from "../images/ext4-feature-sets.ts";
import { patterned } from "../images/rich-tree.ts";
import { requireTools } from "../lab/required-tools.ts";

const missing = requireTools(["mke2fs", "setfattr"]);

/** Without checksums where possible: with them, nearly every flip ends at the first one. */
const IMAGES = [
  { name: "ext2", mke2fs: "-t ext2 -I 128" },
  { name: "ext4", mke2fs: "-t ext4 -O ^has_journal,^metadata_csum,^uninit_bg,64bit" },
  { name: "inline data", mke2fs: "-t ext4 -O ^has_journal,^metadata_csum,^uninit_bg,inline_data -I 256" },
  { name: "meta_bg", mke2fs: "-t ext4 -g 512 -O ^has_journal,^metadata_csum,^uninit_bg,meta_bg,^resize_inode" },
  { name: "checksums", mke2fs: "-t ext4 -O ^has_journal,metadata_csum,64bit" },
] as const;

const RUNS = 400;
/** A whole walk takes some milliseconds; this allows for a busy machine, not for a loop. */
const WALK_MS_MAX = 3000;
const MEMORY_BYTES_MAX = 96 * 1024 * 1024;

/** Overwrites `value.length` bytes somewhere, or flips bits there. */
interface Damage {
  at: number;
  value: Uint8Array;
  flips: boolean;
}

describe.skipIf(missing)("a damaged ext4 image", () => {
  let folder = "";
  const images = new Map<string, { bytes: Buffer; used: number[] }>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-fuzz-"));
    const tree = join(folder, "tree");
    writeTree(tree);
    for (const { name, mke2fs } of IMAGES) {
      const path = join(folder, "image");
      makeExt4(path, { name, mke2fs, blockBytes: 1024 }, { sizeMiB: 2, tree });
      const bytes = readFileSync(path);
      const used = [...bytes.keys()].filter((at) => bytes[at] !== 0 && bytes[at] !== DATA_BYTE);
      images.set(name, { bytes, used });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(IMAGES)("causes nothing but DecodeError, in bounded time: $name", ({ name }) => {
    const { bytes, used } = images.get(name)!;
    const damage = fc.record({
      at: fc.oneof(
        fc.nat(used.length - 1).map((index) => used[index]!),
        fc.nat(bytes.length - 8),
        fc.nat(1024).map((at) => at + 1024),
      ),
      value: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 4 }),
        fc.constantFrom(0x00, 0xff, 0x7f).map((byte) => new Uint8Array(4).fill(byte)),
        fc.nat(bytes.length / 1024).map((block) => Uint8Array.of(block, block >>> 8, 0, 0)),
      ),
      flips: fc.boolean(),
    });
    let survivors = 0;
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 6 }), (damages) => {
        const started = performance.now();
        const before = process.memoryUsage.rss();
        if (walk(damaged(bytes, damages)) > 5) survivors++;
        expect(performance.now() - started).toBeLessThan(WALK_MS_MAX);
        expect(process.memoryUsage.rss() - before).toBeLessThan(MEMORY_BYTES_MAX);
      }),
      { numRuns: RUNS },
    );
    // Proves that the damage went deep, and did not end at the superblock each time.
    expect(survivors).toBeGreaterThan(RUNS / 20);
  });

  it("is refused when it is cut off", () => {
    for (const { bytes } of images.values()) {
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), (sizeBytes) => {
          expect(() => openExt4(memorySource(bytes.subarray(0, sizeBytes)))).toThrow(DecodeError);
        }),
      );
    }
  });

  it("is not needed: the same walk through a sound image finds everything and no error", () => {
    for (const { bytes } of images.values()) expect(walk(bytes, true)).toBeGreaterThan(60);
  });
});

/** Files hold only this byte, so that damage can be aimed at everything else. */
const DATA_BYTE = 0x5a;

function writeTree(root: string): void {
  mkdirSync(join(root, "a", "b", "c"), { recursive: true });
  for (const size of [0, 40, 100, 5000, 40_000])
    writeFileSync(join(root, "a", `f${size}`), Buffer.alloc(size, DATA_BYTE));
  const holes = Buffer.alloc(240 * 1024);
  for (let at = 0; at < holes.length; at += 12 * 1024) holes.fill(DATA_BYTE, at, at + 4096);
  writeFileSync(join(root, "holes"), holes);
  for (let index = 0; index < 50; index++) writeFileSync(join(root, "a", "b", `entry-${index}`), "");
  symlinkSync("short", join(root, "fast"));
  symlinkSync("long/".repeat(40), join(root, "slow"));
  const value = `0x${patterned(300, 1).toString("hex")}`;
  for (const name of ["user.one", "user.two"])
    execFileSync("setfattr", ["-n", name, "-v", value, join(root, "a", "f100")]);
}

function damaged(bytes: Buffer, damages: Damage[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (const { at, value, flips } of damages) {
    value.forEach((byte, index) => {
      if (at + index < copy.length) copy[at + index] = flips ? copy[at + index]! ^ byte : byte;
    });
  }
  return copy;
}

/** Calls everything on everything that can be reached; returns how many inodes were read. */
function walk(bytes: Uint8Array, isSound = false): number {
  const attempt = <T>(action: () => T): T | undefined => {
    try {
      return action();
    } catch (error) {
      if (isSound || !(error instanceof DecodeError)) throw error;
      return undefined;
    }
  };
  const image = attempt(() => openExt4(memorySource(bytes)));
  if (image === undefined) return 0;
  const seen = new Set<number>();
  const queue = [image.rootId];
  attempt(() => queue.push(...image.usedIds()));
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    const type = attempt(() => image.attributes(id))?.type;
    attempt(() => isSound || image.symlinkTarget(id));
    if (type !== undefined) attempt(() => image.extendedAttributes(id));
    if (type === "file") attempt(() => readAll(image, id));
    if (type === "directory") {
      attempt(() => image.parent(id));
      queue.push(...(attempt(() => image.entries(id).map((entry) => entry.id)) ?? []));
    }
  }
  return seen.size;
}

/** Files can claim any size, so only some of a long one is read. */
function readAll(image: FileSystemImage, id: number): void {
  const target = new Uint8Array(64 * 1024);
  const { sizeBytes } = image.attributes(id)!;
  for (const offset of [0, Math.floor(sizeBytes / 2), sizeBytes - 1000])
    image.readFileSync(id, target, Math.max(0, offset));
}
