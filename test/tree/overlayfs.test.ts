/**
 * Our union against overlayfs and ext4 of this machine: the same random changes to a tree over an image, to overlayfs
 * over the directory that the image was made of, and to a plain copy of that directory on ext4.
 *
 * Overlayfs differs from a plain file system where it must by its nature, and there only the copy is compared:
 * - A directory that exists in both of its layers has one link, whatever is in it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileNameFromText } from "../../src/bytes/file-name.ts";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTreeStore, type TreeStore } from "../../src/tree/tree-store.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { type Picture, pictureOfDirectory, pictureOfTree } from "./picture.ts";
import { type Change, change, changeDirectory, changeTree } from "./random-changes.ts";

const RUNS = Number(process.env.OVERLAYFS_RUNS ?? 60);
const IMAGE_SIZE = "8M";
const OVERLAY = "index=on,redirect_dir=on,xino=on,metacopy=off";

const missing = requireTools(["mke2fs", "losetup", "mount", "cp"]) || requireRoot();

type Step = Change | { kind: "restart" };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: change },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
);
const scenario = fc.record({
  /** Makes what the image has. */
  before: fc.array(change, { maxLength: 40, size: "max" }),
  after: fc.array(step, { maxLength: 60, size: "max" }),
});

describe.skipIf(missing)("a tree beside overlayfs and ext4", () => {
  let folder: string;
  let device: string;
  let ext4: string;
  let count = 0;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "overlayfs-"));
    ext4 = join(folder, "ext4");
    mkdirSync(ext4);
    execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", join(folder, "disk"), "256M"]);
    device = run("losetup", "--find", "--show", join(folder, "disk")).trim();
    run("mount", "-t", "ext4", device, ext4);
    process.umask(0);
  });

  afterAll(() => {
    run("umount", ext4);
    run("losetup", "--detach", device);
    rmSync(folder, { recursive: true });
  });

  it(
    "looks the same after the same changes",
    async () => {
      await fc.assert(
        fc.asyncProperty(scenario, async ({ before, after }) => {
          const place = join(ext4, `${count++}`);
          for (const name of ["image/top", "upper", "work", "overlay"])
            mkdirSync(join(place, name), { recursive: true });
          const top = join(place, "image/top");
          for (const change of before) changeDirectory(top, change, { linksSymlinks: false });
          setTimes(top);
          run("cp", "-a", top, join(place, "plain"));
          // mke2fs keeps seconds only, makes two of a symlink with two names, and gives the root attributes of its own.
          run("mke2fs", "-q", "-F", "-t", "ext4", "-d", join(place, "image"), join(place, "root.img"), IMAGE_SIZE);
          const union = await openUnion(join(place, "root.img"), join(place, "state"));
          const overlay = mountOverlay(place);
          try {
            await compare(union, overlay, join(place, "plain"), after);
          } finally {
            await union.close();
            overlay.unmount();
          }
          rmSync(place, { recursive: true });
        }),
        { numRuns: RUNS },
      );
    },
    RUNS * 2000 + 60_000,
  );
});

async function compare(union: Union, overlay: Overlay, plain: string, steps: readonly Step[]): Promise<void> {
  const check = async () => {
    const expected = pictureOfDirectory(plain);
    expect(await pictureOfTree(union.tree, union.top)).toEqual(expected);
    expect(withoutLinksOfDirectories(pictureOfDirectory(overlay.top))).toEqual(withoutLinksOfDirectories(expected));
  };
  await check();
  for (const step of steps) {
    if (step.kind === "restart") {
      // Overlayfs stays mounted: where another test has copied our mounts into a namespace of its own, it cannot be again.
      await union.restart();
      await check();
    } else {
      const expected = changeDirectory(plain, step);
      expect({ step, result: await changeTree(union.tree, union.top, step) }).toEqual({ step, result: expected });
      expect({ step, result: changeDirectory(overlay.top, step) }).toEqual({ step, result: expected });
    }
  }
  await check();
}

type Overlay = ReturnType<typeof mountOverlay>;

function mountOverlay(place: string) {
  const mountPoint = join(place, "overlay");
  const layers = `lowerdir=${place}/image,upperdir=${place}/upper,workdir=${place}/work`;
  run("mount", "-t", "overlay", "-o", `${layers},${OVERLAY}`, "overlay", mountPoint);
  // Not the mount point itself: its attributes are those of the upper folder.
  return { top: join(mountPoint, "top"), unmount: () => run("umount", mountPoint) };
}

type Union = Awaited<ReturnType<typeof openUnion>>;

async function openUnion(imagePath: string, state: string) {
  const image = openExt4(openFileSource(imagePath));
  const keyValueStore = openLmdbStore(join(state, "meta"));
  const dataFiles = openDataFiles(join(state, "data"));
  let trees: TreeStore;
  const open = async () => {
    trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
    return trees.tree({ node: "node1", kind: "root", image, imageId: "image", generated: [] });
  };
  const tree = await open();
  return {
    tree,
    top: tree.lookup(tree.rootId, fileNameFromText("top"))!,
    async restart() {
      await trees.close();
      this.tree = await open();
    },
    async close() {
      await trees.close();
      await keyValueStore.close();
      image.close();
    },
  };
}

/** Gives everything the image has a time of long ago, so that it shows whether a change renews it. */
function setTimes(top: string): void {
  let seconds = 1_000_000_000;
  for (const path of Object.keys(pictureOfDirectory(top)).reverse()) {
    changeDirectory(top, { kind: "set-mtime", path, seconds: seconds++ });
  }
}

function withoutLinksOfDirectories(picture: Picture): Picture {
  const entries = Object.entries(picture);
  return Object.fromEntries(
    entries.map(([path, facts]) => [path, facts.type === "directory" ? { ...facts, linkCount: 0 } : facts]),
  );
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { stdio: "pipe", encoding: "utf8" });
}
