/**
 * A power cut can come after any write of the store, whether its operation was answered or not. The store is replayed
 * up to every such point, and the tree opened there is checked as `fsck` does.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileName } from "../bytes/file-name.ts";
import type { Mutation } from "../ports.ts";
import { type ImageNode, MemoryImage } from "./memory-image.ts";
import { MemoryDataFiles, MemoryStore } from "./memory-store.ts";
import type { PlacedFile } from "./placed-file.ts";
import { apply, imageRoot, namesIn, type Operation, operation } from "./random-operations.ts";
import type { Tree } from "./tree.ts";
import { Storage } from "./tree-fixture.ts";
import { openTreeStore } from "./tree-store.ts";

const GENERATED: PlacedFile[] = [
  { kind: "file", path: "/c/a", content: Buffer.from("generated"), mode: 0o600, uid: 0, gid: 0 },
  { kind: "directory", path: "/b", mode: 0o700, uid: 0, gid: 0 },
];

/** Clients do not wait for one answer before they send the next call. */
const AT_ONCE = 4;

class RecordingStore extends MemoryStore {
  readonly writes: (readonly Mutation[])[] = [];

  override async write(mutations: readonly Mutation[]): Promise<void> {
    this.writes.push(mutations);
    return super.write(mutations);
  }
}

/** Keeps what is removed: a store replayed up to a moment before still names it. */
class KeepingDataFiles extends MemoryDataFiles {
  override async remove(): Promise<void> {}
  override removeFolder(): void {}
}

async function openOver(storage: Storage, root: Record<string, ImageNode>): Promise<Tree> {
  const trees = await openTreeStore(storage);
  return trees.tree({ node: "n", kind: "root", image: new MemoryImage(root), imageId: "i", generated: GENERATED });
}

/** Names, link counts, parents and sizes must agree. */
async function check(tree: Tree): Promise<void> {
  const namesOf = new Map<number, number>();
  const subdirectories = new Map<number, number>();
  const walk = async (id: number): Promise<void> => {
    for (const name of await namesIn(tree, id)) {
      const child = tree.lookup(id, name)!;
      const { type, sizeBytes } = tree.getattr(child);
      namesOf.set(child, (namesOf.get(child) ?? 0) + 1);
      if (type === "directory") {
        subdirectories.set(id, (subdirectories.get(id) ?? 0) + 1);
        expect(tree.lookup(child, ".." as FileName)).toBe(id);
        await walk(child);
      } else if (type === "file") {
        expect((await tree.read(child, 0, sizeBytes + 1)).bytes.length).toBe(sizeBytes);
      }
    }
  };
  await walk(tree.rootId);
  for (const [id, count] of namesOf) {
    const { type, linkCount } = tree.getattr(id);
    expect(linkCount).toBe(type === "directory" ? 2 + (subdirectories.get(id) ?? 0) : count);
  }
}

describe("a tree after a power cut", () => {
  it("is whole at every point where it can have come", async () => {
    const operations = fc.array(operation, { maxLength: 30, size: "max" });
    await fc.assert(
      fc.asyncProperty(imageRoot, operations, async (root, operations) => {
        const storage = new Storage();
        const store = new RecordingStore();
        storage.keyValueStore = store;
        storage.dataFiles = new KeepingDataFiles();
        const tree = await openOver(storage, root);
        const changes = operations.filter(
          (one): one is Exclude<Operation, { kind: "restart" }> => one.kind !== "restart",
        );
        for (let index = 0; index < changes.length; index += AT_ONCE) {
          await Promise.all(changes.slice(index, index + AT_ONCE).map((change) => apply(tree, change)));
        }
        await check(tree);
        for (let count = 0; count <= store.writes.length; count += 1) {
          storage.keyValueStore = new MemoryStore();
          for (const mutations of store.writes.slice(0, count)) await storage.keyValueStore.write(mutations);
          await check(await openOver(storage, root));
        }
      }),
      { numRuns: 100 },
    );
  });
});
