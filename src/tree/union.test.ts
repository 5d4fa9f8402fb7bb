/**
 * The union against a plain file system in memory: the same random operations on both, with restarts between them,
 * must give the same answers and the same files. The tree starts on an image, the model with a copy of it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openDataFiles } from "../system/data-files.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import { type ImageNode, MemoryImage } from "./memory-image.ts";
import type { PlacedFile } from "./placed-file.ts";
import { apply, idOf, imageRoot, NAMES, type Operation, operation, placedFile } from "./random-operations.ts";
import { Storage } from "./tree-fixture.ts";
import { openTreeStore, type TreeStoreOptions } from "./tree-store.ts";
import { copyOf, everything } from "./volume-comparison.ts";

interface Scenario {
  root: Record<string, ImageNode>;
  generated: PlacedFile[];
  operations: Operation[];
}

function scenario(operationsMax: number): fc.Arbitrary<Scenario> {
  return fc.record({
    root: imageRoot,
    generated: fc.array(placedFile, { maxLength: 3 }),
    operations: fc.array(operation, { maxLength: operationsMax, size: "max" }),
  });
}

async function compare(storage: TreeStoreOptions, { root, generated, operations }: Scenario): Promise<void> {
  const image = new MemoryImage(root);
  const options = { node: "node1", kind: "root", image, imageId: "image", generated } as const;
  let trees = await openTreeStore(storage);
  let tree = await trees.tree(options);
  const model = await copyOf(tree);
  expect(await everything(tree)).toEqual(await everything(model));
  for (const operation of operations) {
    if (operation.kind === "restart") {
      const idsBefore = await Promise.all(NAMES.map((name) => idOf(tree, `/${name}`)));
      await trees.close();
      trees = await openTreeStore(storage);
      tree = await trees.tree(options);
      expect(await Promise.all(NAMES.map((name) => idOf(tree, `/${name}`)))).toEqual(idsBefore);
    } else {
      expect(await apply(tree, operation)).toBe(await apply(model, operation));
    }
  }
  expect(await everything(tree)).toEqual(await everything(model));
  await trees.close();
}

describe("a tree", () => {
  it("is the same as a plain file system under random operations and restarts", async () => {
    await fc.assert(
      fc.asyncProperty(scenario(60), (scenario) => compare(new Storage(), scenario)),
      { numRuns: 300 },
    );
  });

  it("is the same on LMDB and files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "union-"));
    let count = 0;
    try {
      await fc.assert(
        fc.asyncProperty(scenario(40), async (scenario) => {
          const keyValueStore = openLmdbStore(join(folder, `${count}`, "meta"));
          const dataFiles = openDataFiles(join(folder, `${count++}`, "data"));
          await compare(Object.assign(new Storage(), { keyValueStore, dataFiles }), scenario);
          await keyValueStore.close();
        }),
        { numRuns: 25 },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
