import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import type { FileSystemImage } from "../../src/disk/file-system-image.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { debugfsDifferences } from "./debugfs.ts";
import { FEATURE_SETS, type FeatureSet, makeExt4 } from "./ext4-feature-sets.ts";
import { withMount } from "./loop-mount.ts";
import { reserveBlocks, workLikeANode, writeRichTree } from "./rich-tree.ts";
import { differences, listImage, listMount } from "./tree-listing.ts";

const missing =
  requireRoot() ||
  requireTools([
    "mke2fs",
    "debugfs",
    "tune2fs",
    "mount",
    "losetup",
    "setfattr",
    "getfattr",
    "setfacl",
    "setcap",
    "perl",
  ]);

/**
 * Made by mke2fs, and added to by the kernel. 97 groups of 1 MiB make group 96 the last one, which under `sparse_super2`
 * holds a superblock, and under `meta_bg` also the descriptors behind it.
 */
const IMAGE_MIB = 97;
const DIRECTORY_ENTRIES = 3000;

describe.skipIf(missing)("ext4 images against the kernel and debugfs", () => {
  let folder = "";
  const trees = new Map<string, string>();

  /** One source tree for every kind of limit. */
  function treeFor(features: FeatureSet): string {
    const blockBytes: number = features.blockBytes ?? 4096;
    const hasHugeFiles = features.hasHugeFiles ?? true;
    const path = join(folder, `tree-${blockBytes}-${hasHugeFiles}`);
    if (trees.has(path)) return path;
    mkdirSync(path);
    writeRichTree(path, {
      symlinkBytesMax: Math.min(4095, blockBytes - 1),
      attributeBytesMax: blockBytes < 4096 ? 600 : 3000,
      hasHugeFile: hasHugeFiles,
      pieces: blockBytes > 4096 ? 20 : 1500,
    });
    trees.set(path, path);
    return path;
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-ext4-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(FEATURE_SETS)(
    "reads $name",
    async (features) => {
      const path = join(folder, "image");
      const tree = treeFor(features);
      makeExt4(path, features, { sizeMiB: IMAGE_MIB, tree });
      if (features.kernel === undefined) {
        withMount(path, { options: "rw" }, (mountPoint) => {
          const root = join(mountPoint, "kernel");
          mkdirSync(root);
          execFileSync("cp", ["-a", `${tree}/.`, root]);
          workLikeANode(root, {
            directoryEntries: DIRECTORY_ENTRIES,
            largeAttributeBytes: features.largeAttributeBytes ?? 0,
          });
          if (features.hasExtents !== false) reserveBlocks(join(root, "reserved"));
        });
      }
      const image = openExt4(openFileSource(path));
      try {
        const ours = listImage(image);
        const reachable = new Set([...ours.values()].map(({ id }) => Number(id)));
        expect([...image.usedIds()]).toEqual([...reachable].sort((a, b) => a - b));
        expect(image.kind).toBe(features.mke2fs.match(/ext[234]/)?.[0]);
        await compareReads(image, reachable);
        expect(debugfsDifferences(path, ours)).toEqual([]);
        if (features.kernel === "refuses") return;
        withMount(path, { options: "ro,noload,noatime" }, (mountPoint) => {
          expect(differences(ours, listMount(mountPoint))).toEqual([]);
          const { bfree, bsize } = statfsSync(mountPoint);
          expect(image.freeBytes).toBe(bfree * bsize);
        });
      } finally {
        image.close();
        rmSync(path);
      }
    },
    120_000,
  );
});

/** All ways to read give the same bytes, from any offset, and none past the end. */
async function compareReads(image: FileSystemImage, ids: Iterable<number>): Promise<void> {
  const [one, other, third] = [new Uint8Array(10_000), new Uint8Array(10_000), new Uint8Array(10_000)];
  let ranges = 0;
  for (const id of ids) {
    const { type, sizeBytes } = image.attributes(id)!;
    if (type !== "file" || sizeBytes === 0) continue;
    for (const offset of [0, 57, Math.floor(sizeBytes / 2), sizeBytes - 1, sizeBytes, sizeBytes + 5000]) {
      one.fill(1);
      other.fill(1);
      const expectedBytes = Math.max(0, Math.min(one.length, sizeBytes - offset));
      expect(image.readFileSync(id, one, offset)).toBe(expectedBytes);
      expect(await image.readFile(id, other, offset)).toBe(expectedBytes);
      expect(Buffer.compare(one, other)).toBe(0);
      third.fill(1);
      expect(image.readFileNow(id, third, offset)).toBe(expectedBytes);
      expect(Buffer.compare(one, third)).toBe(0);
      if (expectedBytes === 0) continue;
      const range = image.fileRangeNow?.(id, offset, expectedBytes);
      if (range === undefined) continue;
      third.fill(1);
      range.file.readSync(third.subarray(0, expectedBytes), range.offset);
      expect(Buffer.compare(one, third)).toBe(0);
      ranges++;
    }
  }
  expect(ranges).toBeGreaterThan(0);
}
