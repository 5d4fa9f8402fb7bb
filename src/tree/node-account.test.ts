/** How much a node may store, and what is counted. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countedUsage, FILE_BYTES, storedUsage } from "./layer-usage.ts";
import { MemoryImage } from "./memory-image.ts";
import { apply, imageRoot, operation } from "./random-operations.ts";
import type { Tree } from "./tree.ts";
import type { StorageRules } from "./tree-description.ts";
import { at, BIG, imageOfADistribution, makeFile, name, ROOT, Storage, status } from "./tree-fixture.ts";
import { openTreeStore, type TreeStore } from "./tree-store.ts";

const QUOTA_BYTES = 100_000;
const RULES: StorageRules = { durability: "sync", quotaBytes: QUOTA_BYTES };

async function openBoth(rules: StorageRules, storage = new Storage()) {
  const trees = await openTreeStore(storage);
  const image = imageOfADistribution();
  const options = { node: "node1", image, imageId: "debian", generated: [], rules } as const;
  const boot = await trees.tree({ ...options, kind: "boot" });
  const root = await trees.tree({ ...options, kind: "root" });
  return { trees, storage, image, boot, root };
}

const write = (tree: Tree, id: number, offset: number, count: number, stable = false) =>
  status(() => tree.write(id, offset, new Uint8Array(count).fill(1), stable));

describe("a quota", () => {
  it("is for all that both trees of a node store, durable or not", async () => {
    const { boot, root } = await openBoth(RULES);
    const one = await makeFile(boot, "/etc", "one", "x".repeat(50_000));
    const two = await makeFile(root, "/etc", "two", "");
    expect(await write(root, two, 0, 40_000)).toBe("NFS3_OK");
    expect(await write(root, two, 40_000, 20_000)).toBe("NFS3ERR_DQUOT");
    expect(root.getattr(two).sizeBytes).toBe(40_000);
    expect(await write(boot, one, 49_000, 20_000)).toBe("NFS3ERR_DQUOT");
    expect(await status(() => root.setattr(two, { sizeBytes: 2 ** 30 }))).toBe("NFS3ERR_DQUOT");
  });

  it("lets what is there be written again, and be removed, when nothing is left", async () => {
    const { root, storage, trees } = await openBoth(RULES);
    const id = await makeFile(root, "/etc", "full", "x".repeat(QUOTA_BYTES - 6 * FILE_BYTES));
    const make = (number: number) => status(() => root.mkdir(root.rootId, name(`d${number}`), ROOT));
    for (let number = 0; (await make(number)) === "NFS3_OK"; number += 1);
    expect(await write(root, id, 0, 50_000)).toBe("NFS3_OK");
    expect(await status(() => root.commit(id))).toBe("NFS3_OK");
    expect(await status(() => makeFile(root, "/etc", "more", ""))).toBe("NFS3ERR_DQUOT");
    expect(root.statfs().freeBytes).toBeLessThan(FILE_BYTES);
    // Whiteouts and changed directories cost something too, and must not keep anybody from removing.
    expect(await status(() => root.remove(at(root, "/etc"), name("fstab")))).toBe("NFS3_OK");
    expect(await status(() => root.remove(at(root, "/etc"), name("full")))).toBe("NFS3_OK");
    expect(await status(() => makeFile(root, "/etc", "more", "x".repeat(50_000)))).toBe("NFS3_OK");
    await trees.close();
    expect((await openBoth(RULES, storage)).root.statfs()).toEqual(root.statfs());
  });

  it("counts of a changed file of the image what was changed", async () => {
    const { root, image } = await openBoth(RULES);
    const free = root.statfs().freeBytes;
    await write(root, image.idOf("/var/big"), 10_000, 1, true);
    expect(free - root.statfs().freeBytes).toBe(4096 + FILE_BYTES);
    expect(BIG.length).toBeGreaterThan(8192);
  });

  it("is the disk that the node sees, as far as the real one has room", async () => {
    const { root, storage } = await openBoth(RULES);
    expect(root.statfs()).toMatchObject({ totalBytes: QUOTA_BYTES, freeBytes: QUOTA_BYTES });
    storage.dataFiles.space = () => ({ totalBytes: 2 ** 30, freeBytes: 1000 });
    expect(root.statfs()).toMatchObject({ totalBytes: QUOTA_BYTES, freeBytes: 1000, availableBytes: 1000 });
    expect((await openBoth({ durability: "sync" })).root.statfs().totalBytes).toBe(2 ** 40);
  });

  it("counts snapshots, and nothing of what was reset", async () => {
    const { root, trees, boot } = await openBoth(RULES);
    await makeFile(root, "/etc", "old", "x".repeat(60_000));
    await trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", "before"));
    await root.remove(at(root, "/etc"), name("old"));
    expect(await status(() => makeFile(root, "/etc", "new", "x".repeat(60_000)))).toBe("NFS3ERR_DQUOT");
    await trees.dropNodeLayer("node1");
    expect(root.statfs().freeBytes + boot.statfs().freeBytes).toBe(2 * QUOTA_BYTES);
  });
});

it("is counted as the records are, whatever happens", async () => {
  const stored = async (trees: TreeStore, tree: Tree, storage: Storage) => {
    await tree.flush();
    const { layerId, usage } = tree.nodeLayer;
    expect(usage).toEqual(countedUsage(storage.keyValueStore, layerId));
    expect(storedUsage(storage.keyValueStore, layerId)).toEqual(usage);
    await trees.close();
  };
  await fc.assert(
    fc.asyncProperty(imageRoot, fc.array(operation, { maxLength: 40, size: "max" }), async (root, operations) => {
      const storage = new Storage();
      const trees = await openTreeStore(storage);
      const options = { node: "n", kind: "root", image: new MemoryImage(root), imageId: "i", generated: [] } as const;
      const tree = await trees.tree(options);
      for (const one of operations) if (one.kind !== "restart") await apply(tree, one);
      await stored(trees, tree, storage);
    }),
    { numRuns: 100 },
  );
});
