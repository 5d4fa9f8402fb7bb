/** A boot tree over a real FAT image: the firmware asks in one case, the image has another, and the node writes kernels. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFat } from "../../src/disk/fat/index.ts";
import type { FileSystemImage } from "../../src/disk/file-system-image.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import type { PlacedFile } from "../../src/tree/placed-file.ts";
import { at, listing, makeFile, name, Storage, textOf } from "../../src/tree/tree-fixture.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";
import { requireTools } from "../lab/required-tools.ts";

const KERNEL = "kernel".repeat(20_000);

describe.skipIf(requireTools(["mkfs.vfat", "mcopy"]))("a boot tree over a FAT image", () => {
  let folder: string;
  let image: FileSystemImage;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "fat-tree-"));
    mkdirSync(join(folder, "files/overlays"), { recursive: true });
    writeFileSync(join(folder, "files/CONFIG.TXT"), "arm_64bit=1\n");
    writeFileSync(join(folder, "files/kernel8.img"), KERNEL);
    writeFileSync(join(folder, "files/overlays/a-rather-long-name.dtbo"), "overlay");
    const path = join(folder, "boot.img");
    execFileSync("mkfs.vfat", ["-C", path, "16384"], { stdio: "pipe" });
    execFileSync("sh", ["-c", 'mcopy -s -i "$1" "$2"/files/* ::', "sh", path, folder]);
    image = openFat(openFileSource(path));
  });

  afterAll(() => {
    image.close();
    rmSync(folder, { recursive: true });
  });

  async function open(storage: Storage, generated: PlacedFile[] = []) {
    const trees = await openTreeStore(storage);
    return trees.tree({ node: "node1", kind: "boot", image, imageId: "image", generated });
  }

  it("serves generated and image files by any case of their names", async () => {
    const config = {
      path: "/config.txt",
      kind: "file",
      content: Buffer.from("new\n"),
      mode: 0o755,
      uid: 0,
      gid: 0,
    } as const;
    const tree = await open(new Storage(), [config, { ...config, path: "/cmdline.txt" }]);
    expect(textOf(tree, "/Config.TXT")).toBe("new\n");
    expect(textOf(tree, "/CMDLINE.txt")).toBe("new\n");
    expect(textOf(tree, "/KERNEL8.IMG")).toBe(KERNEL);
    expect(textOf(tree, "/overlays/A-RATHER-LONG-NAME.dtbo")).toBe("overlay");
    expect(tree.lookupPath("/start4.elf")).toBeUndefined();
  });

  it("takes a kernel update as the package manager does it, and keeps it over a restart", async () => {
    const storage = new Storage();
    const tree = await open(storage);
    await makeFile(tree, "/", "kernel8.img.dpkg-new", "updated".repeat(5000));
    await tree.rename(tree.rootId, name("kernel8.img.dpkg-new"), tree.rootId, name("kernel8.img"));
    await tree.remove(at(tree, "/overlays"), name("A-Rather-Long-Name.dtbo"));
    for (const one of [tree, await open(storage)]) {
      expect(textOf(one, "/KERNEL8.img")).toBe("updated".repeat(5000));
      expect(listing(one, "/overlays")).toEqual([".", ".."]);
      expect(listing(one, "/").filter((entry) => /kernel/i.test(entry))).toEqual(["kernel8.img"]);
    }
  });
});
