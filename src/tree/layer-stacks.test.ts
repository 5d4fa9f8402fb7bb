/**
 * Trees of several layers against plain file systems in memory: the same random operations on two nodes, with
 * snapshots, restores, clones, drops and restarts between them, must give the same files, and change no other tree.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MemoryVolume } from "../nfs/memory-volume.ts";
import { openDataFiles } from "../system/data-files.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import { type ImageNode, MemoryImage } from "./memory-image.ts";
import type { PlacedFile } from "./placed-file.ts";
import { apply, idOf, imageRoot, NAMES, type Operation, operation, placedFile } from "./random-operations.ts";
import { checkStore } from "./store-check.ts";
import type { Tree } from "./tree.ts";
import { Storage, status } from "./tree-fixture.ts";
import { openTreeStore, type TreeStore, type TreeStoreOptions } from "./tree-store.ts";
import { copyOf, everything, idsIn } from "./volume-comparison.ts";

const NODES = ["one", "two"] as const;
type Node = (typeof NODES)[number];

type Step =
  | { kind: "change"; node: Node; operations: Operation[] }
  | { kind: "snapshot" | "restore" | "remove"; node: Node; name: string }
  | { kind: "clone"; from: Node; to: Node; name: string | undefined }
  | { kind: "drop"; node: Node }
  | { kind: "restart" };

const node = fc.constantFrom(...NODES);
const snapshotName = fc.constantFrom("a", "b", "c");
const operations = fc.array(operation, { minLength: 1, maxLength: 8 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("change" as const), node, operations }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("snapshot" as const), node, name: snapshotName }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom("restore" as const, "remove" as const), node, name: snapshotName }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("clone" as const),
      from: node,
      to: node,
      name: fc.option(snapshotName, { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("drop" as const), node }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
);

interface Scenario {
  root: Record<string, ImageNode>;
  generated: PlacedFile[];
  steps: Step[];
}

const scenario: fc.Arbitrary<Scenario> = fc.record({
  root: imageRoot,
  generated: fc.array(placedFile, { maxLength: 2 }),
  steps: fc.array(step, { minLength: 5, maxLength: 25, size: "max" }),
});

/** What a snapshot holds, and which file ids its names lead to. */
interface ModelSnapshot {
  volume: MemoryVolume;
  ids: (number | undefined)[];
}

/** Two nodes, each beside the plain file system that it should be like. */
class TwoNodes {
  readonly #storage: TreeStoreOptions;
  readonly #scenario: Scenario;
  readonly #image: MemoryImage;
  #store!: TreeStore;
  readonly #trees = new Map<Node, Tree>();
  readonly #models = new Map<Node, MemoryVolume>();
  readonly #snapshots = new Map<string, ModelSnapshot>();
  #pristine!: MemoryVolume;

  constructor(storage: TreeStoreOptions, scenario: Scenario) {
    this.#storage = storage;
    this.#scenario = scenario;
    this.#image = new MemoryImage(scenario.root);
  }

  async open(): Promise<void> {
    this.#store = await openTreeStore(this.#storage);
    for (const node of NODES) {
      const { generated } = this.#scenario;
      const tree = await this.#store.tree({ node, kind: "root", image: this.#image, imageId: "image", generated });
      this.#trees.set(node, tree);
    }
  }

  async run(): Promise<void> {
    await this.open();
    this.#pristine = await copyOf(this.#trees.get("one")!);
    for (const node of NODES) this.#models.set(node, await copyOf(this.#pristine));
    for (const step of this.#scenario.steps) {
      await this.#do(step);
      await this.#compare();
    }
    await this.#store.close();
    this.#check();
    await this.open();
    await this.#compare();
    await this.#store.close();
  }

  /** Nothing is wrong in a store that was closed. Data of unstable writes that were given up may be left. */
  #check(): void {
    const image = this.#image;
    const { findings } = checkStore({ ...this.#storage, imageOf: () => image });
    expect(findings.filter(({ text }) => !text.endsWith("keeps its content elsewhere"))).toEqual([]);
  }

  async #compare(): Promise<void> {
    for (const node of NODES) {
      expect(await everything(this.#trees.get(node)!)).toEqual(await everything(this.#models.get(node)!));
    }
  }

  #ids(node: Node): Promise<(number | undefined)[]> {
    return Promise.all(NAMES.map((name) => idOf(this.#trees.get(node)!, `/${name}`)));
  }

  async #do(step: Step): Promise<void> {
    switch (step.kind) {
      case "change":
        for (const operation of step.operations) {
          if (operation.kind === "restart") continue;
          const answer = await apply(this.#models.get(step.node)!, operation);
          expect(await apply(this.#trees.get(step.node)!, operation)).toBe(answer);
        }
        return;
      case "snapshot":
        return this.#snapshot(step.node, step.name);
      case "restore":
        return this.#restore(step.node, step.name);
      case "remove": {
        const isThere = this.#snapshots.delete(`${step.node}/${step.name}`);
        const removed = this.#store.changeStructure([], (catalog) => catalog.removeSnapshot(step.node, step.name));
        if (isThere) await removed;
        else await expect(removed).rejects.toThrow("Cannot remove snapshot");
        return;
      }
      case "clone":
        return this.#clone(step.from, step.to, step.name);
      case "drop":
        await this.#store.dropNodeLayer(step.node);
        this.#models.set(step.node, await copyOf(this.#pristine));
        return;
      case "restart":
        await this.#store.close();
        this.#check();
        await this.open();
    }
  }

  async #snapshot(node: Node, name: string): Promise<void> {
    const taken = this.#store.changeStructure([node], (catalog) => catalog.snapshot(node, name));
    if (this.#snapshots.has(`${node}/${name}`)) {
      await expect(taken).rejects.toThrow("there is one of that name");
      return;
    }
    await taken;
    this.#snapshots.set(`${node}/${name}`, {
      volume: await copyOf(this.#models.get(node)!),
      ids: await this.#ids(node),
    });
  }

  async #restore(node: Node, name: string): Promise<void> {
    const tree = this.#trees.get(node)!;
    const [before, { epoch }] = [await idsIn(tree), tree];
    const restored = this.#store.changeStructure([node], (catalog) => catalog.restore(node, name), { abandon: true });
    const snapshot = this.#snapshots.get(`${node}/${name}`);
    if (snapshot === undefined) {
      await expect(restored).rejects.toThrow("Cannot restore snapshot");
      return;
    }
    await restored;
    this.#models.set(node, await copyOf(snapshot.volume));
    expect(await this.#ids(node)).toEqual(snapshot.ids);
    expect(tree.epoch).toBe(epoch);
    const after = await idsIn(tree);
    for (const id of before) if (!after.has(id)) expect(await status(() => tree.getattr(id))).toBe("NFS3ERR_STALE");
  }

  async #clone(from: Node, to: Node, name: string | undefined): Promise<void> {
    // Unstable writes count as soon as they are stored.
    await this.#trees.get(to)!.flush();
    const isWritten = this.#store.hasNodeLayer(to);
    const source = name === undefined ? this.#models.get(from)! : this.#snapshots.get(`${from}/${name}`)?.volume;
    const cloned = this.#store.changeStructure([...new Set([from, to])], (catalog) => catalog.clone(from, name, to));
    if (from === to || isWritten || source === undefined) {
      await expect(cloned).rejects.toThrow(`Cannot clone ${from} to ${to}`);
      return;
    }
    await cloned;
    this.#models.set(to, await copyOf(source));
  }
}

describe("trees of several layers", () => {
  it("are like plain file systems under snapshots, restores, clones, drops and restarts", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, (scenario) => new TwoNodes(new Storage() as TreeStoreOptions, scenario).run()),
      { numRuns: 60 },
    );
  }, 120_000);

  it("are so on LMDB and files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "layer-stacks-"));
    let count = 0;
    try {
      await fc.assert(
        fc.asyncProperty(scenario, async (scenario) => {
          const keyValueStore = openLmdbStore(join(folder, `${count}`, "meta"));
          const dataFiles = openDataFiles(join(folder, `${count++}`, "data"));
          await new TwoNodes(Object.assign(new Storage(), { keyValueStore, dataFiles }), scenario).run();
          await keyValueStore.close();
        }),
        { numRuns: 10 },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 120_000);
});
