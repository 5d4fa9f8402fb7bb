/** A tree on a disk that fills up or fails: a small tmpfs, and a small ext4 on a loop device. Both take root to mount. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openJournaledStore } from "../../src/system/journal-file.ts";
import {
  at,
  imageOfADistribution,
  listing,
  makeFile,
  name,
  openTree,
  ROOT,
  Storage,
  status,
  textOf,
} from "../../src/tree/tree-fixture.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";

const contentOf = (index: number): string => `${index % 10}`.repeat(3_000_000);

const MIB = 2 ** 20;

function mountTmpfs(folder: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]);
}

function mountExt4(folder: string): void {
  const image = `${folder}.img`;
  writeFileSync(image, "");
  truncateSync(image, 80 * MIB);
  execFileSync("mkfs.ext4", ["-q", "-m", "0", image]);
  execFileSync("mount", ["-o", "loop", image, folder]);
}

describe.skipIf(requireRoot() || requireTools(["mkfs.ext4"])).each([
  ["tmpfs", mountTmpfs],
  ["ext4", mountExt4],
])("a tree on a full disk of %s", (_, mount) => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "disk-full-"));
    mount(folder);
  });

  afterEach(() => {
    execFileSync("umount", ["--lazy", folder]);
    rmSync(folder, { recursive: true });
    rmSync(`${folder}.img`, { force: true });
  });

  async function open() {
    const keyValueStore = await openJournaledStore(join(folder, "meta"), "1");
    const storage = Object.assign(new Storage(), { keyValueStore, dataFiles: openDataFiles(join(folder, "data")) });
    const opened = await openTree({ storage, image: imageOfADistribution() });
    const close = async () => {
      await opened.trees.close();
      await keyValueStore.close();
    };
    return { ...opened, close };
  }

  it("refuses contents with NOSPC while files can still be made and removed, and goes on when there is room", async () => {
    const { tree, close } = await open();
    const made: string[] = [];
    let refused: string | undefined;
    while (refused === undefined) {
      const outcome = await status(() => makeFile(tree, "/var", `file${made.length}`, contentOf(made.length)));
      if (outcome === "NFS3_OK") made.push(`file${made.length}`);
      else refused = outcome;
    }
    expect(refused).toBe("NFS3ERR_NOSPC");
    expect(made.length).toBeGreaterThan(5);
    expect(tree.statfs().freeBytes).toBeLessThan(3_000_000);
    expect(await status(() => tree.mkdir(tree.rootId, name("directory"), ROOT))).toBe("NFS3_OK");
    expect(await status(() => tree.remove(at(tree, "/var"), name("file0")))).toBe("NFS3_OK");
    expect(await status(() => makeFile(tree, "/var", "file0", contentOf(0)))).toBe("NFS3_OK");
    await close();

    const again = await open();
    for (const [index, file] of made.entries()) expect(textOf(again.tree, `/var/${file}`)).toBe(contentOf(index));
    await again.close();
  });

  it("refuses records with NOSPC before the disk is full, and is whole afterwards", async () => {
    const { tree, close } = await open();
    const { bavail, bsize } = statfsSync(folder);
    writeFileSync(join(folder, "somebody else's"), new Uint8Array(bavail * bsize - 12 * MIB));
    const attempts = Array.from({ length: 3000 }, (_, index) =>
      makeFile(tree, "/etc", `small${index}`, "x".repeat(4000)),
    );
    const results = await Promise.allSettled(attempts);
    const refusals = results.filter((result) => result.status === "rejected");
    expect(refusals.length).toBeGreaterThan(0);
    for (const { reason } of refusals) expect((reason as { status: string }).status).toMatch(/NOSPC|STALE/);
    await status(() => tree.remove(at(tree, "/etc"), name("hostname")));
    const kept = tree.lookupPath("/etc/hostname");
    const names = listing(tree, "/etc");
    rmSync(join(folder, "somebody else's"));
    await close();

    const again = await open();
    expect(again.tree.lookupPath("/etc/hostname")).toBe(kept);
    expect(listing(again.tree, "/etc")).toEqual(names);
    await again.close();
  });

  it("refuses large contents with NOSPC and leaves the files as they were", async () => {
    const { tree, image, close } = await open();
    const id = image.idOf("/var/big");
    const before = textOf(tree, "/var/big");
    expect(await status(() => tree.write(id, 50_000, new Uint8Array(40 << 20), true))).toBe("NFS3ERR_NOSPC");
    expect(textOf(tree, "/var/big")).toBe(before);
    await close();
  });

  it("refuses with ROFS what needs the disk once it is read-only, and goes on when it no longer is", async () => {
    const { tree, close } = await open();
    const id = await makeFile(tree, "/var", "before", contentOf(1));
    const remount = (how: string) => execFileSync("mount", ["-o", `remount,${how}`, folder]);
    // Files are open for writing: only the mount, not the file system, can become read-only.
    const isReadOnly = () => execFileSync("mount", ["-o", "remount,ro,bind", folder]);
    execFileSync("mount", ["--bind", folder, folder]);
    isReadOnly();
    try {
      expect(await status(() => tree.mkdir(tree.rootId, name("directory"), ROOT))).toBe("NFS3ERR_ROFS");
      expect(await status(() => makeFile(tree, "/var", "after", contentOf(2)))).toBe("NFS3ERR_ROFS");
      expect(textOf(tree, "/var/before")).toBe(contentOf(1));
    } finally {
      remount("rw,bind");
      execFileSync("umount", ["--lazy", folder]);
    }
    expect(await status(() => makeFile(tree, "/var", "after", contentOf(2)))).toBe("NFS3_OK");
    expect(await status(() => tree.write(id, 0, Buffer.from("x"), true))).toBe("NFS3_OK");
    await close();
  });
});
