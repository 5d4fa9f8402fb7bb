import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { debugfsDifferences } from "./debugfs.ts";
import { FEATURE_SETS, makeExt4 } from "./ext4-feature-sets.ts";
import { withMount } from "./loop-mount.ts";
import { treeArbitrary, writeTree } from "./tree-arbitrary.ts";
import { differences, listImage, listMount } from "./tree-listing.ts";

const missing =
  requireRoot() || requireTools(["mke2fs", "debugfs", "mount", "losetup", "getfattr", "setfattr", "mknod", "mkfifo"]);

const RUNS = 12;
/** Sets with blocks of 4 KiB, which hold any symlink. */
const SETS = FEATURE_SETS.filter(({ blockBytes, kernel }) => blockBytes === undefined && kernel === undefined);

describe.skipIf(missing)("any tree in an ext4 image", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-property-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is entry by entry what the kernel and debugfs see", () => {
    fc.assert(
      fc.property(treeArbitrary, fc.constantFrom(...SETS), (tree, features) => {
        const source = join(folder, "tree");
        const path = join(folder, "image");
        rmSync(source, { recursive: true, force: true });
        mkdirSync(source);
        writeTree(source, tree);
        makeExt4(path, features, { sizeMiB: 64, tree: source });
        withMount(path, { options: "rw" }, (mountPoint) => {
          mkdirSync(join(mountPoint, "by-the-kernel"));
          execFileSync("cp", ["-a", `${source}/.`, join(mountPoint, "by-the-kernel")]);
        });
        const image = openExt4(openFileSource(path));
        try {
          const ours = listImage(image);
          expect(debugfsDifferences(path, ours)).toEqual([]);
          expect(differences(ours, withMount(path, { options: "ro,noload,noatime" }, listMount))).toEqual([]);
        } finally {
          image.close();
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  }, 120_000);
});
