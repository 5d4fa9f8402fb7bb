import { describe, expect, it } from "vitest";
import { SeededRandom } from "../../test/soak/seeded-random.ts";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { MemoryImage } from "./memory-image.ts";
import { MemoryStore } from "./memory-store.ts";
import { openTreeCatalog } from "./tree-catalog.ts";
import {
  at,
  BIG,
  imageOfADistribution,
  listing,
  makeFile,
  name,
  openTree,
  ROOT,
  Storage,
  status,
  textOf,
} from "./tree-fixture.ts";
import { openTreeStore, type TreeStore } from "./tree-store.ts";

const snapshot = (trees: TreeStore, snapshotName: string) =>
  trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", snapshotName));

const restore = (trees: TreeStore, snapshotName: string) =>
  trees.changeStructure(["node1"], (catalog) => catalog.restore("node1", snapshotName), { abandon: true });

const keyCount = (storage: Storage) => [...storage.keyValueStore.range(Uint8Array.of(0), Uint8Array.of(255))].length;

async function twoNodes(
  generated = [] as { kind: "file"; path: string; content: Uint8Array; mode: number; uid: number; gid: number }[],
) {
  const opened = await openTree();
  const other = await opened.trees.tree({
    node: "node2",
    kind: "root",
    imageId: "debian",
    image: opened.image,
    generated,
  });
  return { ...opened, other };
}

describe("a snapshot", () => {
  it("leaves ids, handles, names and contents as they are, with unstable writes, and costs a few records", async () => {
    const storage = new Storage();
    const { tree, trees, image } = await openTree({ storage });
    const id = await makeFile(tree, "/etc", "mine", "x".repeat(10_000));
    await tree.write(image.idOf("/var/big"), 7, Buffer.from("unstable"), false);
    await tree.remove(at(tree, "/etc"), name("fstab"));
    const { epoch } = tree;
    const [before, files] = [keyCount(storage), storage.dataFiles.list("")];
    await snapshot(trees, "a");
    expect(keyCount(storage) - before).toBeLessThan(6);
    expect(storage.dataFiles.list("")).toEqual(files);
    expect(tree.epoch).toBe(epoch);
    expect(at(tree, "/etc/mine")).toBe(id);
    expect(Buffer.from((await tree.read(image.idOf("/var/big"), 7, 8)).bytes).toString()).toBe("unstable");
    expect(await status(() => tree.getattr(image.idOf("/etc/fstab")))).toBe("NFS3ERR_STALE");
    const restarted = (await openTree({ storage, image })).tree;
    expect(textOf(restarted, "/etc/mine")).toBe("x".repeat(10_000));
    expect(await status(() => restarted.getattr(image.idOf("/etc/fstab")))).toBe("NFS3ERR_STALE");
  });

  it("shares blocks: a byte written after it costs one", async () => {
    const storage = new Storage();
    const { tree, trees } = await openTree({ storage });
    await makeFile(tree, "/etc", "mine", "x".repeat(1_000_000));
    await snapshot(trees, "a");
    await tree.write(at(tree, "/etc/mine"), 500_000, Buffer.from("y"), true);
    expect(tree.usedBytes()).toBe(4096);
    await snapshot(trees, "b");
    await tree.write(at(tree, "/etc/mine"), 600_000, Buffer.from("z"), true);
    const expected = `${"x".repeat(500_000)}y${"x".repeat(99_999)}z${"x".repeat(399_999)}`;
    expect(textOf(tree, "/etc/mine")).toBe(expected);
    expect(trees.catalog.snapshots("node1")).toMatchObject([
      { name: "a", sizeBytes: 1_000_000 },
      { name: "b", sizeBytes: 4096 },
    ]);
  });

  it("brings back what was removed, with its id, and makes stale what came later", async () => {
    const { tree, trees, image } = await openTree();
    await makeFile(tree, "/etc", "mine", "kept");
    await snapshot(trees, "a");
    const mine = at(tree, "/etc/mine");
    const later = await makeFile(tree, "/etc", "later", "gone");
    await tree.remove(at(tree, "/etc"), name("mine"));
    await tree.write(image.idOf("/var/big"), 0, Buffer.from("spoilt"), true);
    await restore(trees, "a");
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release", "mine"]);
    expect(at(tree, "/etc/mine")).toBe(mine);
    expect(textOf(tree, "/etc/mine")).toBe("kept");
    expect(Buffer.compare((await tree.read(image.idOf("/var/big"), 0, 100_000)).bytes, BIG)).toBe(0);
    expect(await status(() => tree.getattr(later))).toBe("NFS3ERR_STALE");
    expect(await makeFile(tree, "/etc", "latest", "")).toBeGreaterThan(later);
  });

  it("stays when the node is reset, and can be restored then", async () => {
    const { tree, trees } = await openTree();
    const mine = await makeFile(tree, "/etc", "mine", "kept");
    await snapshot(trees, "a");
    await trees.dropNodeLayer("node1");
    expect(tree.lookupPath("/etc/mine")).toBeUndefined();
    const other = await makeFile(tree, "/etc", "other", "");
    expect(other).toBeGreaterThan(mine);
    await restore(trees, "a");
    expect(at(tree, "/etc/mine")).toBe(mine);
    expect(tree.lookupPath("/etc/other")).toBeUndefined();
  });

  it("lets go of its layers and their data when it is removed, but of none that others use", async () => {
    const storage = new Storage();
    const { tree, trees } = await openTree({ storage });
    await makeFile(tree, "/etc", "first", "x".repeat(5000));
    await snapshot(trees, "a");
    await makeFile(tree, "/etc", "second", "y".repeat(5000));
    await snapshot(trees, "b");
    await trees.dropNodeLayer("node1");
    expect(storage.dataFiles.list("")).toHaveLength(2);
    await trees.changeStructure([], (catalog) => catalog.removeSnapshot("node1", "a"));
    expect(storage.dataFiles.list("")).toHaveLength(2);
    await restore(trees, "b");
    expect(textOf(tree, "/etc/first")).toBe("x".repeat(5000));
    await trees.dropNodeLayer("node1");
    await trees.changeStructure([], (catalog) => catalog.removeSnapshot("node1", "b"));
    expect(storage.dataFiles.list("")).toEqual([]);
    expect([...storage.keyValueStore.range(Buffer.from("L"), Buffer.from("M"))].length).toBeLessThan(3);
  });

  it("holds no data file open that is to go", async () => {
    const storage = new Storage();
    const { tree, trees } = await openTree({ storage });
    const open = new Set<string>();
    const { dataFiles } = storage;
    const openFile = dataFiles.open.bind(dataFiles);
    dataFiles.open = async (file, how) => {
      const opened = await openFile(file, how);
      const { close } = opened;
      open.add(file);
      opened.close = () => {
        open.delete(file);
        close.call(opened);
      };
      return opened;
    };
    await makeFile(tree, "/etc", "mine", "x".repeat(5000));
    expect(open.size).toBe(1);
    await trees.dropNodeLayer("node1");
    expect(open.size).toBe(0);
  });

  it("does not add a layer when nothing was written since the last one", async () => {
    const { tree, trees } = await openTree();
    await makeFile(tree, "/etc", "mine", "");
    for (const each of ["a", "b", "c"]) await snapshot(trees, each);
    const description = await trees.catalog.tree({ ...DEBIAN, image: imageOfADistribution() });
    expect(description.layers).toHaveLength(2);
  });

  it("is refused in plain words: a bad name, one taken, none there, another image", async () => {
    const { trees } = await openTree();
    await snapshot(trees, "a");
    await expect(snapshot(trees, "a")).rejects.toThrow("Cannot take snapshot a of node1: there is one of that name");
    await expect(snapshot(trees, "a/b")).rejects.toThrow('Cannot name a snapshot "a/b": expected up to 63 letters');
    await expect(trees.catalog.snapshot("nobody", "a")).rejects.toThrow("the node has no files yet");
    await expect(restore(trees, "b")).rejects.toThrow("Cannot restore snapshot b of node1: it has only a");
    await expect(trees.catalog.removeSnapshot("node2", "a")).rejects.toThrow("node2: it has no snapshots");
    await trees.dropNodeLayer("node1");
    await trees.tree({ ...DEBIAN, imageId: "newer", image: new MemoryImage({ etc: "" }) });
    await expect(restore(trees, "a")).rejects.toThrow(
      "Cannot restore snapshot a of node1: it was taken over image debian",
    );
  });
});

const DEBIAN = { node: "node1", kind: "root", imageId: "debian", generated: [] } as const;

/** A store that is slow by a random number of turns of the event loop for each write, which are answered in order. */
function slowStorage(turns: () => number): Storage {
  const storage = new Storage();
  const write = storage.keyValueStore.write.bind(storage.keyValueStore);
  let before: Promise<void> = Promise.resolve();
  storage.keyValueStore.write = (...args) => {
    const written = write(...args);
    before = before.then(async () => {
      await written;
      await someTurns(turns());
    });
    return before;
  };
  return storage;
}

async function someTurns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** What a program does, and what of it was begun and answered: names of files, and lengths of a log as `log 12`. */
class Program {
  readonly begun: string[] = [];
  readonly answered: string[] = [];

  async run(trees: TreeStore, directory: number, letter: string): Promise<void> {
    const volume = trees.volume("node1", "root")!;
    const make = async (file: string) => {
      this.begun.push(file);
      const id = await volume.create(directory, name(file), { kind: "guarded" }, ROOT);
      this.answered.push(file);
      return id;
    };
    const log = await make(`log-${letter}`);
    for (let index = 0; index < 30; index++) {
      await make(`first-${letter}-${index}`);
      await volume.write(log, index, Buffer.from("x"), index % 3 === 0);
      this.answered.push(`${letter} ${index + 1}`);
      await make(`second-${letter}-${index}`);
    }
  }
}

describe("a snapshot that is taken while programs run", () => {
  it("has what was answered before, nothing that began after, and no effect without its cause", async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    const random = new SeededRandom(seed);
    const turns = () => random.below(4);
    const { tree, trees } = await openTree({ storage: slowStorage(turns) });
    const etc = at(tree, "/etc");
    const program = new Program();
    const letters = ["a", "b", "c", "d"];
    const running = Promise.all(letters.map((letter) => program.run(trees, etc, letter)));
    const taken: { name: string; answered: string[]; begunCount: number }[] = [];
    for (let count = 0; count < 5; count++) {
      await someTurns(random.below(40));
      const [snapshotName, answered] = [`s${count}`, [...program.answered]];
      await snapshot(trees, snapshotName);
      taken.push({ name: snapshotName, answered, begunCount: program.begun.length });
    }
    await running;

    for (const { name: snapshotName, answered, begunCount } of taken) {
      await restore(trees, snapshotName);
      const there = new Set(listing(tree, "/etc"));
      const sizes = new Map(
        letters.map((letter) => [
          letter,
          there.has(`log-${letter}`) ? tree.fileByPath(`/etc/log-${letter}`)!.sizeBytes : 0,
        ]),
      );
      const lost = answered.filter((each) => {
        const [letter = "", length] = each.split(" ");
        return length === undefined ? !there.has(each) : sizes.get(letter)! < Number(length);
      });
      const early = program.begun.slice(begunCount).filter((each) => there.has(each));
      const causeless = [...there].filter((each) => {
        const [kind, letter, index] = each.split("-");
        return kind === "second" && !(there.has(`first-${letter}-${index}`) && sizes.get(letter!)! > Number(index));
      });
      expect({ seed, snapshotName, lost, early, causeless }).toEqual({
        ...{ seed, snapshotName },
        ...{ lost: [], early: [], causeless: [] },
      });
    }
    expect(taken.at(-1)!.answered.length).toBeGreaterThan(0);
  });
});

describe("a clone", () => {
  it("has the other node's files over its own generated ones, and goes its own way", async () => {
    const mine = { kind: "file", path: "/etc/hostname", content: Buffer.from("node2\n"), ...ROOT } as const;
    const { tree, trees, other } = await twoNodes([mine]);
    await makeFile(tree, "/var", "large", "x".repeat(10_000));
    await tree.write(at(tree, "/etc/fstab"), 0, Buffer.from("#"), false);
    const { epoch } = other;
    await trees.changeStructure(["node1", "node2"], (catalog) => catalog.clone("node1", undefined, "node2"));
    expect(other.epoch).toBeGreaterThan(epoch);
    expect(textOf(other, "/var/large")).toBe("x".repeat(10_000));
    expect(textOf(other, "/etc/fstab").startsWith("#")).toBe(true);
    expect(textOf(other, "/etc/hostname")).toBe("node2\n");
    await other.remove(at(other, "/var"), name("large"));
    await makeFile(tree, "/etc", "later", "");
    expect(textOf(tree, "/var/large")).toBe("x".repeat(10_000));
    expect(other.lookupPath("/etc/later")).toBeUndefined();
    await trees.dropNodeLayer("node1");
    expect(textOf(other, "/etc/fstab").startsWith("#")).toBe(true);
  });

  it("is refused onto a node that has written, onto another image, onto itself, and of no snapshot", async () => {
    const { tree, trees, other } = await twoNodes();
    await makeFile(tree, "/etc", "mine", "");
    const clone = (from: string, snapshotName: string | undefined, to: string) =>
      trees.catalog.clone(from, snapshotName, to);
    await expect(clone("node1", "a", "node2")).rejects.toThrow("Cannot clone node1 to node2: it has no snapshots");
    await expect(clone("node1", undefined, "node1")).rejects.toThrow("they are the same node");
    await makeFile(other, "/etc", "theirs", "");
    await expect(clone("node1", undefined, "node2")).rejects.toThrow(
      "Cannot clone node1 to node2: node2 has written files of its own; bramble nodes reset node2 drops what it wrote",
    );
    await trees.tree({ node: "node3", kind: "root", imageId: "newer", image: new MemoryImage({}), generated: [] });
    await expect(clone("node1", undefined, "node3")).rejects.toThrow("belongs to image debian, and node3 is on newer");
    expect(textOf(other, "/etc/theirs")).toBe("");
  });
});

/** One process's view of a store: what another one writes is seen when it must be. */
class LateStore implements KeyValueStore {
  readonly #shared: MemoryStore;
  #seen = new Map<string, Uint8Array>();

  constructor(shared: MemoryStore) {
    this.#shared = shared;
    this.catchUp();
  }

  catchUp(): void {
    const entries = [...this.#shared.range(Uint8Array.of(0), Uint8Array.of(255))];
    this.#seen = new Map(entries.map(({ key, value }) => [Buffer.from(key).toString("latin1"), value]));
  }

  get = (key: Uint8Array) => this.#seen.get(Buffer.from(key).toString("latin1"));

  *range(from: Uint8Array, to: Uint8Array) {
    for (const { key } of [...this.#shared.range(from, to)]) {
      const value = this.get(key);
      if (value !== undefined) yield { key, value };
    }
  }

  async write(mutations: readonly Mutation[]): Promise<void> {
    const written = this.#shared.write(mutations);
    this.catchUp();
    return written;
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}

describe("a process that shows late what another one has stored", () => {
  it("neither gives an id twice nor loses the first file of a layer", async () => {
    const storage = new Storage();
    const shared = new MemoryStore();
    const image = imageOfADistribution();
    const catalog = await openTreeCatalog({ ...storage, keyValueStore: new LateStore(shared) });
    const trees = await openTreeStore({
      dataFiles: storage.dataFiles,
      clock: storage.clock,
      keyValueStore: new LateStore(shared),
    });
    const open = async () => trees.open(await catalog.tree({ ...DEBIAN, image }), image);
    const tree = await open();
    const ids: number[] = [];
    for (const snapshotName of ["a", "b", "c"]) {
      ids.push(await makeFile(tree, "/etc", `before-${snapshotName}`, snapshotName));
      await trees.release("node1");
      await catalog.snapshot("node1", snapshotName);
      await open();
    }
    ids.push(await makeFile(tree, "/etc", "last", ""));
    expect(new Set(ids).size).toBe(4);
    await trees.release("node1");
    await catalog.restore("node1", "c");
    await open();
    expect(["a", "b", "c"].map((each) => textOf(tree, `/etc/before-${each}`))).toEqual(["a", "b", "c"]);
  });
});

describe("layers after a power cut", () => {
  class RecordingStore extends MemoryStore {
    readonly writes: (readonly Mutation[])[] = [];

    override async write(mutations: readonly Mutation[]): Promise<void> {
      this.writes.push(mutations);
      return super.write(mutations);
    }
  }

  it("are all there or gone at every point where it can have come, and nothing is left over", async () => {
    const storage = new Storage();
    const store = new RecordingStore();
    storage.keyValueStore = store;
    const { tree, trees, image } = await openTree({ storage });
    for (let index = 0; index < 700; index += 1) await makeFile(tree, "/etc", `file${index}`, "");
    const begin = store.writes.length;
    await snapshot(trees, "a");
    await makeFile(tree, "/etc", "later", "");
    await restore(trees, "a");
    await trees.changeStructure(["node1"], (catalog) => catalog.clone("node1", "a", "node2"));
    await trees.changeStructure([], (catalog) => catalog.removeSnapshot("node1", "a"));
    await trees.dropNodeLayer("node1");
    for (let count = begin; count <= store.writes.length; count += 1) {
      const kept = new MemoryStore();
      for (const mutations of store.writes.slice(0, count)) await kept.write(mutations);
      const again = new Storage();
      again.keyValueStore = kept;
      const opened = await openTreeStore(again);
      const { layers } = await opened.catalog.tree({ ...DEBIAN, image });
      const one = await opened.tree({ ...DEBIAN, image });
      const files = listing(one, "/etc").length - 5;
      expect([0, 700, 701]).toContain(files);
      const stored = new Set(
        [...kept.range(Buffer.from("L"), Buffer.from("M"))].map(({ key }) => Buffer.from(key).readUInt32BE(1)),
      );
      const clones = (await opened.catalog.tree({ ...DEBIAN, node: "node2", image })).layers;
      const snapshots = opened.catalog.snapshots("node1").length;
      if (snapshots === 0) for (const layerId of stored) expect([...layers, ...clones]).toContain(layerId);
      else expect(stored.size).toBeLessThanOrEqual(3);
    }
  });
});
