/** Trees over a real ext4 image, on LMDB and files: what a node costs on disk, and what outlives the program. */
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import { at, listing, makeFile, name, ROOT, textOf } from "../../src/tree/tree-fixture.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";
import { requireTools } from "../lab/required-tools.ts";

const LARGE_BYTES = 500 * 2 ** 20;

describe.skipIf(requireTools(["mke2fs", "du"]))("a tree over an ext4 image", () => {
  let folder: string;
  let stateCount = 0;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ext4-tree-"));
    const source = join(folder, "source");
    mkdirSync(join(source, "etc"), { recursive: true });
    writeFileSync(join(source, "etc/hostname"), "raspberrypi\n");
    linkSync(join(source, "etc/hostname"), join(source, "etc/name"));
    symlinkSync("etc/hostname", join(source, "link"));
    writeFileSync(join(source, "large"), Buffer.alloc(8192, "head"));
    truncateSync(join(source, "large"), LARGE_BYTES);
    mkdirSync(join(source, "many"));
    for (let index = 0; index < 3000; index += 1) writeFileSync(join(source, `many/file${index}`), `${index}`);
    execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-d", source, join(folder, "root.img"), "700M"]);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function open(state = join(folder, `state${stateCount++}`)) {
    const image = openExt4(openFileSource(join(folder, "root.img")));
    const keyValueStore = openLmdbStore(join(state, "meta"));
    const dataFiles = openDataFiles(join(state, "data"));
    const trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
    const tree = await trees.tree({ node: "node1", kind: "root", image, imageId: "image", generated: [] });
    const close = async () => {
      await trees.close();
      await keyValueStore.close();
      image.close();
    };
    return { tree, state, image, close };
  }

  const diskBytes = (path: string) => Number(execFileSync("du", ["-sB1", path], { encoding: "utf8" }).split("\t")[0]);

  it("changes one byte of a 500 MB file for kilobytes", async () => {
    const { tree, state, close } = await open();
    const before = diskBytes(state);
    const id = at(tree, "/large");
    await tree.write(id, LARGE_BYTES / 2, Uint8Array.of(7), true);
    await tree.write(id, 4098, Buffer.from("changed"), true);
    expect(diskBytes(state) - before).toBeLessThan(64 * 1024);
    expect(tree.getattr(id).sizeBytes).toBe(LARGE_BYTES);
    const { bytes } = await tree.read(id, 4090, 20);
    expect(Buffer.from(bytes).toString()).toBe("adheadhechangedeadhe");
    expect(Array.from((await tree.read(id, LARGE_BYTES / 2 - 1, 3)).bytes)).toEqual([0, 7, 0]);
    await close();
  });

  it("keeps ids, links and contents over a restart", async () => {
    const first = await open();
    const id = at(first.tree, "/etc/hostname");
    await first.tree.write(id, 0, Buffer.from("node1-----\n\n"), true);
    await first.tree.rename(first.tree.rootId, name("many"), at(first.tree, "/etc"), name("few"));
    const made = await makeFile(first.tree, "/etc/few", "new", "n".repeat(100_000));
    await first.tree.mknod(
      first.tree.rootId,
      name("null"),
      { type: "character", device: { major: 1, minor: 3 } },
      ROOT,
    );
    await first.close();

    const { tree, close } = await open(first.state);
    expect(at(tree, "/etc/hostname")).toBe(id);
    expect(at(tree, "/etc/name")).toBe(id);
    expect(tree.getattr(id).linkCount).toBe(2);
    expect(textOf(tree, "/link")).toBe("node1-----\n\n");
    expect(at(tree, "/etc/few/new")).toBe(made);
    expect(textOf(tree, "/etc/few/new")).toBe("n".repeat(100_000));
    expect(textOf(tree, "/etc/few/file2999")).toBe("2999");
    expect(listing(tree, "/etc/few")).toHaveLength(3003);
    expect(tree.getattr(at(tree, "/null"))).toMatchObject({ type: "character", device: { major: 1, minor: 3 } });
    await close();
  });

  it("removes a large directory entry by entry, as rm -r does", async () => {
    const { tree, close } = await open();
    const many = at(tree, "/many");
    for (let cookie = 0; ; ) {
      const { entries, complete } = tree.readdir(many, cookie, 500);
      const names = entries.map((entry) => entry.name).filter((one) => one !== "." && one !== "..");
      await Promise.all(names.map((name) => tree.remove(many, name)));
      if (complete) break;
      cookie = entries.at(-1)!.cookie;
    }
    await tree.rmdir(tree.rootId, name("many"));
    expect(listing(tree, "/")).not.toContain("many");
    await close();
  });
});
