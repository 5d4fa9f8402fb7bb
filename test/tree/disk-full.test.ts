/** A tree on a disk that fills up: a small tmpfs, which takes root to mount. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
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
import { requireRoot } from "../lab/required-tools.ts";

const contentOf = (index: number): string => `${index % 10}`.repeat(3_000_000);

describe.skipIf(requireRoot())("a tree on a full disk", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "disk-full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]);
  });

  afterEach(() => {
    execFileSync("umount", ["--lazy", folder]);
    rmSync(folder, { recursive: true });
  });

  async function open() {
    const keyValueStore = openLmdbStore(join(folder, "meta"));
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
    expect(tree.statfs().freeBytes).toBeLessThan(1_000_000);
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
    writeFileSync(join(folder, "somebody else's"), new Uint8Array((64 - 12) * 2 ** 20));
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
});
