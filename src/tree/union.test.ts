/**
 * The union against a plain file system in memory: the same random operations on both, with restarts between them,
 * must give the same answers and the same files. The tree starts on an image, the model with a copy of it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileName } from "../bytes/file-name.ts";
import { MemoryVolume } from "../nfs/memory-volume.ts";
import type { Volume } from "../nfs/volume.ts";
import { openDataFiles } from "../system/data-files.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import { type ImageNode, MemoryImage } from "./memory-image.ts";
import type { PlacedFile } from "./placed-file.ts";
import {
  apply,
  content,
  idOf,
  imageRoot,
  NAMES,
  namesIn,
  type Operation,
  operation,
  path,
} from "./random-operations.ts";
import { Storage } from "./tree-fixture.ts";
import { openTreeStore, type TreeStoreOptions } from "./tree-store.ts";

/** Every path with all that can be seen of it; files are numbered in the order they are met, so links show. */
async function everything(volume: Volume): Promise<string[]> {
  const lines: string[] = [];
  const numbers = new Map<number, number>();
  const walk = async (id: number, path: string, parentId: number): Promise<void> => {
    const { type, mode, uid, gid, linkCount, sizeBytes, device } = await volume.getattr(id);
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    const size = type === "directory" ? "" : sizeBytes;
    const what = `${type} #${numbers.get(id)} ${mode.toString(8)} ${uid}:${gid} links ${linkCount} ${size}`;
    if (type === "directory") {
      expect(await volume.lookup(id, ".." as FileName)).toBe(parentId);
      lines.push(`${path}/ ${what}`);
      const names = await namesIn(volume, id);
      for (const name of names.sort()) await walk((await volume.lookup(id, name))!, `${path}/${name}`, id);
    } else if (type === "file") {
      const { bytes, endOfFile } = await volume.read(id, 0, sizeBytes + 10);
      lines.push(`${path} ${what} ${runs(bytes)} ${endOfFile}`);
    } else if (type === "symlink") {
      lines.push(`${path} ${what} -> ${await volume.readlink(id)}`);
    } else {
      lines.push(`${path} ${what} ${device.major},${device.minor}`);
    }
  };
  await walk(volume.rootId, "", volume.rootId);
  return lines;
}

/** Contents are runs of one byte: readable when they differ. */
function runs(bytes: Uint8Array): string {
  const found: string[] = [];
  for (let start = 0, end = 0; start < bytes.length; start = end) {
    while (end < bytes.length && bytes[end] === bytes[start]) end += 1;
    found.push(`${bytes[start]}×${end - start}`);
  }
  return found.join(" ");
}

async function copyOf(original: Volume): Promise<MemoryVolume> {
  const volume = new MemoryVolume();
  const copies = new Map<number, number>([[original.rootId, volume.rootId]]);
  const fill = async (directoryId: number): Promise<void> => {
    const into = copies.get(directoryId)!;
    for (const name of await namesIn(original, directoryId)) {
      const id = (await original.lookup(directoryId, name))!;
      const { type, mode, uid, gid, sizeBytes } = await original.getattr(id);
      const known = copies.get(id);
      if (known !== undefined) volume.link(known, into, name);
      else if (type === "directory") copies.set(id, volume.mkdir(into, name, { mode, uid, gid }));
      else if (type === "symlink") {
        copies.set(id, volume.symlink(into, name, await original.readlink(id), { mode, uid, gid }));
      } else {
        copies.set(id, volume.create(into, name, { kind: "guarded" }, { mode, uid, gid }));
        volume.write(copies.get(id)!, 0, (await original.read(id, 0, sizeBytes)).bytes);
      }
      if (type === "directory") await fill(id);
    }
  };
  await fill(original.rootId);
  return volume;
}

interface Scenario {
  root: Record<string, ImageNode>;
  generated: PlacedFile[];
  operations: Operation[];
}

const placedFile: fc.Arbitrary<PlacedFile> = fc.oneof(
  fc.record({ kind: fc.constant("file"), path, content, mode: fc.constant(0o600), uid: fc.nat(9), gid: fc.nat(9) }),
  fc.record({ kind: fc.constant("symlink"), path, target: fc.constant("generated" as FileName) }),
  fc.record({ kind: fc.constant("directory"), path, mode: fc.constant(0o700), uid: fc.nat(9), gid: fc.nat(9) }),
  fc.record({ kind: fc.constant("removed"), path }),
);

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
