import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, renameSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { subSource } from "../../src/disk/sub-source.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { withMount } from "./loop-mount.ts";
import { differences, listImage, listingHash, listMount } from "./tree-listing.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const COMPRESSED = join(CHECKOUT, "../shared/images/debian-12-pi-arm64.img.xz");
/** The root partition, as the image's partition table has it. */
const ROOT = { startByte: 272_629_760, sizeBytes: 1_048_576_000 };

const isThere = existsSync(COMPRESSED);
if (!isThere) console.warn(`skipped: ${COMPRESSED} is not there`);
const missing = !isThere || requireRoot() || requireTools(["xz", "mount", "losetup", "getfattr"]);

describe.skipIf(missing)("the root partition of a Debian image", () => {
  it("is entry by entry what the kernel sees", () => {
    const path = decompressed();
    const source = openFileSource(path);
    const image = openExt4(subSource(source, ROOT.startByte, ROOT.sizeBytes));
    const ours = listImage(image);
    image.close();
    source.close();
    withMount(path, { ...ROOT, options: "ro,noload,noatime" }, (mountPoint) => {
      const theirs = listMount(mountPoint);
      expect(differences(ours, theirs)).toEqual([]);
      expect(listingHash(ours)).toBe(listingHash(theirs));
    });
    expect(ours.size).toBeGreaterThan(10_000);
  }, 300_000);
});

/** Decompressed once for all runs. Written aside and renamed, so that a killed run leaves nothing that looks whole. */
function decompressed(): string {
  const folder = join(CHECKOUT, ".cache");
  const path = join(folder, basename(COMPRESSED, ".xz"));
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const partial = `${path}.${process.pid}`;
  const output = openSync(partial, "wx");
  try {
    execFileSync("xz", ["-dc", "-T0", COMPRESSED], { stdio: ["ignore", output, "inherit"] });
  } finally {
    closeSync(output);
  }
  renameSync(partial, path);
  return path;
}
