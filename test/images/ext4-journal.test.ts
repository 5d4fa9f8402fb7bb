import {
  closeSync,
  copyFileSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { type FeatureSet, makeExt4 } from "./ext4-feature-sets.ts";
import { withMount } from "./loop-mount.ts";
import { patterned } from "./rich-tree.ts";
import { differences, listImage, listMount } from "./tree-listing.ts";

const missing = requireRoot() || requireTools(["mke2fs", "mount", "losetup", "getfattr"]);

const JOURNAL_MAGIC = Buffer.from([0xc0, 0x3b, 0x39, 0x98]);

interface CrashCase extends FeatureSet {
  mount: string;
  rounds: number;
  /** From which round on a copy is made and checked after each; only after the last when absent. */
  copyFrom?: number;
}

const CASES: CrashCase[] = [
  { name: "checksums v3, 64bit", mke2fs: "-t ext4 -J size=4 -O 64bit,metadata_csum", mount: "rw", rounds: 3 },
  {
    name: "a log that wraps around",
    mke2fs: "-t ext4 -J size=1 -O 64bit,metadata_csum",
    blockBytes: 1024,
    mount: "rw",
    rounds: 13,
    copyFrom: 5,
  },
  {
    name: "checksums v1",
    mke2fs: "-t ext4 -J size=4 -O ^metadata_csum,^64bit",
    blockBytes: 1024,
    mount: "rw,journal_checksum",
    rounds: 12,
  },
  {
    name: "asynchronous commits",
    mke2fs: "-t ext4 -J size=4 -O ^metadata_csum,64bit",
    mount: "rw,journal_async_commit,data=writeback",
    rounds: 5,
  },
  { name: "no checksums", mke2fs: "-t ext3 -J size=4", blockBytes: 1024, mount: "rw", rounds: 20 },
  { name: "journalled data with escapes", mke2fs: "-t ext4 -J size=8", mount: "rw,data=journal", rounds: 4 },
  {
    name: "journalled data, no checksums",
    mke2fs: "-t ext3 -J size=8",
    blockBytes: 2048,
    mount: "rw,data=journal",
    rounds: 8,
  },
  { name: "orphan_file", mke2fs: "-t ext4 -J size=4 -O orphan_file", mount: "rw", rounds: 3 },
];

describe.skipIf(missing)("an ext4 image copied from a running computer", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-journal-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(CASES)(
    "shows what the kernel recovers: $name",
    (features) => {
      const path = join(folder, "running");
      const copy = join(folder, "copy");
      const { rounds, copyFrom = rounds - 1 } = features;
      makeExt4(path, features, { sizeMiB: 24 });
      withMount(path, { options: features.mount }, (mountPoint) => {
        const orphan = openSync(join(mountPoint, "orphan"), "w");
        writeSync(orphan, patterned(50_000, 1));
        unlinkSync(join(mountPoint, "orphan"));
        try {
          for (let round = 0; round < rounds; round++) {
            work(mountPoint, round);
            if (round < copyFrom) continue;
            commit(join(mountPoint, `last-${round}`));
            copyFileSync(path, copy);
            compareRecovered(copy, `/last-${round}`);
          }
        } finally {
          closeSync(orphan);
        }
      });
    },
    120_000,
  );

  it("does not replay the blocks of a deleted directory that have become data", () => {
    const path = join(folder, "revoked");
    const copy = join(folder, "revoked-copy");
    makeExt4(path, { name: "", mke2fs: "-t ext4 -J size=4", blockBytes: 1024 }, { sizeMiB: 24 });
    withMount(path, { options: "rw" }, (mountPoint) => {
      writeFileSync(join(mountPoint, "room"), patterned(400_000, 2));
      fillUp(join(mountPoint, "filler"));
      unlinkSync(join(mountPoint, "room"));
      commit(join(mountPoint, "marker"));
      const directory = join(mountPoint, "directory");
      mkdirSync(directory);
      for (let index = 0; index < 800; index++) linkSync(join(mountPoint, "marker"), join(directory, longName(index)));
      commit(join(mountPoint, "marker"));
      rmSync(directory, { recursive: true });
      commit(join(mountPoint, "marker"));
      fillUp(join(mountPoint, "data"));
      copyFileSync(path, copy);
    });
    compareRecovered(copy, "/data");
  });

  it("is refused by name when it has fast commits to replay", () => {
    const path = join(folder, "fast");
    const copy = join(folder, "fast-copy");
    makeExt4(path, { name: "", mke2fs: "-t ext4 -O fast_commit" }, { sizeMiB: 48 });
    withMount(path, { options: "rw" }, (mountPoint) => {
      for (let round = 0; round < 4; round++) commit(join(mountPoint, `file-${round}`));
      copyFileSync(path, copy);
    });
    expect(() => openExt4(openFileSource(copy))).toThrow(/fast_commit has changes to replay; mount the image once/);
  });
});

/** Compares our view of an image that was not unmounted with the kernel's, which changes the image. */
function compareRecovered(path: string, lastPath: string): void {
  expect(needsRecovery(path)).toBe(true);
  const image = openExt4(openFileSource(path));
  const ours = listImage(image);
  const { freeBytes } = image;
  image.close();
  expect(ours.has("/orphan")).toBe(false);
  expect(ours.get(lastPath)).toMatchObject({ type: "file" });
  withMount(path, { options: "ro,noatime" }, (mountPoint) => {
    expect(differences(ours, listMount(mountPoint))).toEqual([]);
    const { bfree, bsize } = statfsSync(mountPoint);
    // The kernel frees the blocks of the orphan; we only hide it.
    expect(bfree * bsize - freeBytes).toBeLessThanOrEqual(64 * 1024);
    expect(bfree * bsize - freeBytes).toBeGreaterThanOrEqual(0);
  });
  expect(needsRecovery(path)).toBe(false);
}

/** Writes until nothing more fits, and commits. */
function fillUp(path: string): void {
  const file = openSync(path, "w");
  const block = patterned(1024, 9);
  try {
    for (;;) writeSync(file, block);
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOSPC" });
  }
  fsyncSync(file);
  closeSync(file);
}

function longName(index: number): string {
  return `${index}-`.padEnd(200, "n");
}

/** Everything that needs care in a replay: directories that are deleted and whose blocks become data, and escapes. */
function work(mountPoint: string, round: number): void {
  const directory = join(mountPoint, `directory-${round % 4}`);
  rmSync(directory, { recursive: true, force: true });
  commit(join(mountPoint, "marker"));
  for (let index = 0; index < 12; index++) {
    const block = Buffer.concat([JOURNAL_MAGIC, patterned(1020, round * 100 + index)]);
    writeFileSync(join(mountPoint, `data-${round % 3}-${index}`), Buffer.concat([block, block, block, block, block]));
  }
  commit(join(mountPoint, "marker"));
  mkdirSync(directory);
  for (let index = 0; index < 150; index++) writeFileSync(join(directory, `${index}-${"n".repeat(40)}`), `${index}`);
  commit(join(mountPoint, "marker"));
}

/** Commits a transaction to the journal, without the blocks being written to their places. */
function commit(path: string): void {
  const file = openSync(path, "a");
  writeSync(file, "x");
  fsyncSync(file);
  closeSync(file);
}

function needsRecovery(path: string): boolean {
  return (readFileSync(path).readUInt32LE(1024 + 0x60) & 0x4) !== 0;
}
