import { describe, expect, it } from "vitest";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { MemoryImage } from "./memory-image.ts";
import { MemoryStore } from "./memory-store.ts";
import { STORE_KEY } from "./structure-records.ts";
import {
  at,
  BIG,
  imageOfADistribution,
  layGenerated,
  listing,
  makeFile,
  name,
  openTree,
  ROOT,
  Storage,
  status,
  textOf,
} from "./tree-fixture.ts";

/** Holds writes back until told how they end: what a disk does that is slow, and then full. */
class HeldStore implements KeyValueStore {
  isHeld = false;
  #durable: Mutation[][] = [];
  #visible = new MemoryStore();
  #inFlight: { mutations: Mutation[]; resolve: () => void; reject: (error: Error) => void }[] = [];

  get = (key: Uint8Array) => this.#visible.get(key);
  range = (from: Uint8Array, to: Uint8Array) => this.#visible.range(from, to);
  close = async () => {};
  flush = () => this.write([]);
  catchUp = () => {};

  async write(mutations: readonly Mutation[]): Promise<void> {
    if (mutations.length === 0 && this.#inFlight.length === 0) return;
    await this.#visible.write(mutations);
    const written = new Promise<void>((resolve, reject) => {
      this.#inFlight.push({ mutations: [...mutations], resolve, reject });
    });
    if (!this.isHeld) this.succeed();
    return written;
  }

  succeed(): void {
    for (const { mutations, resolve } of this.#inFlight.splice(0)) {
      this.#durable.push(mutations);
      resolve();
    }
  }

  async fail(error: Error): Promise<void> {
    this.#visible = new MemoryStore();
    for (const mutations of this.#durable) await this.#visible.write(mutations);
    for (const { reject } of this.#inFlight.splice(0)) reject(error);
  }
}

const diskFull = () => Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });

async function heldTree() {
  const storage = new Storage();
  const store = new HeldStore();
  storage.keyValueStore = store;
  const opened = await openTree({ storage });
  store.isHeld = true;
  return { ...opened, store };
}

describe("a change", () => {
  it("is answered when it is durable, and shown before", async () => {
    const { tree, store } = await heldTree();
    let answered = false;
    const made = Promise.resolve(tree.mkdir(tree.rootId, name("new"), ROOT)).then(() => {
      answered = true;
    });
    await new Promise(setImmediate);
    expect(listing(tree, "/")).toContain("new");
    expect(answered).toBe(false);
    store.succeed();
    await made;
    expect(answered).toBe(true);
  });

  it("is undone with all after it when the disk is full, and the next one works", async () => {
    const { tree, store, image } = await heldTree();
    const before = listing(tree, "/");
    const attempts = [
      status(() => tree.mkdir(tree.rootId, name("one"), ROOT)),
      status(() => tree.rename(tree.rootId, name("usr"), tree.rootId, name("two"))),
      status(() => tree.setattr(image.idOf("/etc"), { mode: 0 })),
      status(() => tree.remove(at(tree, "/etc"), name("fstab"))),
    ];
    await new Promise(setImmediate);
    expect(listing(tree, "/")).not.toEqual(before);
    await store.fail(diskFull());
    expect(await Promise.all(attempts)).toEqual(Array(4).fill("NFS3ERR_NOSPC"));
    expect(listing(tree, "/")).toEqual(before);
    expect(textOf(tree, "/etc/fstab")).toContain("mmcblk0p2");
    expect(tree.getattr(at(tree, "/etc")).mode).toBe(0o755);
    store.isHeld = false;
    const id = await makeFile(tree, "/etc", "after", "content");
    expect(textOf(tree, "/etc/after")).toBe("content");
    expect(tree.getattr(id).linkCount).toBe(1);
  });

  it("leaves unstable data for the next commit when a commit fails", async () => {
    const { tree, store, storage, image } = await heldTree();
    const id = image.idOf("/var/big");
    await tree.write(id, 4096, Buffer.from("unstable"), false);
    const committed = status(() => tree.commit(id));
    await new Promise(setImmediate);
    await store.fail(diskFull());
    expect(await committed).toBe("NFS3ERR_NOSPC");
    store.isHeld = false;
    await tree.commit(id);
    const restarted = (await openTree({ storage, image })).tree;
    const { bytes } = await restarted.read(id, 4096, 8);
    expect(Buffer.from(bytes).toString()).toBe("unstable");
  });

  it("that needs both a record and a data file fails once, when the disk is full for both", async () => {
    const { tree, trees, store, storage, image } = await heldTree();
    store.isHeld = false;
    const content = Buffer.alloc(5000, "x");
    await layGenerated(trees, image, [{ kind: "file", path: "/etc/new", content, ...ROOT }]);
    store.isHeld = true;
    storage.dataFiles.open = () => {
      throw diskFull();
    };
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    const written = status(() => tree.write(at(tree, "/etc/new"), 0, Buffer.from("y"), false));
    await store.fail(diskFull());
    expect(await written).toBe("NFS3ERR_NOSPC");
    await new Promise(setImmediate);
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  it("commits a file's data before its record", async () => {
    const { tree, store, storage, image } = await heldTree();
    const order: string[] = [];
    const { open } = storage.dataFiles;
    storage.dataFiles.open = async (file, how) => {
      const opened = await open.call(storage.dataFiles, file, how);
      const { sync } = opened;
      opened.sync = async () => {
        await sync.call(opened);
        order.push("data");
      };
      return opened;
    };
    const { write } = store;
    store.write = (mutations) => {
      order.push("record");
      return write.call(store, mutations);
    };
    store.isHeld = false;
    await tree.write(image.idOf("/var/big"), 0, Buffer.from("x"), true);
    expect(order).toEqual(["data", "record"]);
  });

  it("becomes durable by itself some seconds after an unstable write", async () => {
    const storage = new Storage();
    const { tree, image } = await openTree({ storage });
    const id = image.idOf("/etc/fstab");
    await tree.write(id, 0, Buffer.from("#"), false);
    storage.advance(10_000);
    await new Promise(setImmediate);
    expect(textOf((await openTree({ storage, image })).tree, "/etc/fstab").startsWith("#")).toBe(true);
  });
});

describe("a released tree", () => {
  const generated = [{ kind: "file", path: "/etc/motd", content: Buffer.from("hi"), ...ROOT } as const];
  const options = { node: "node1", kind: "root", imageId: "debian", generated } as const;

  it("lets calls wait until it is opened again, and finishes those under way first", async () => {
    const { tree, trees, store, image } = await heldTree();
    const volume = trees.volume("node1", "root")!;
    const order: string[] = [];
    const made = Promise.resolve(volume.mkdir(tree.rootId, name("before"), ROOT)).then(() => order.push("made"));
    const released = trees.release("node1").then(() => order.push("released"));
    const waiting = Promise.resolve(volume.lookup(tree.rootId, name("before"))).then((id) => {
      order.push("looked up");
      return id;
    });
    await new Promise(setImmediate);
    expect(order).toEqual([]);
    store.isHeld = false;
    store.succeed();
    await Promise.all([made, released]);
    expect(order).toEqual(["made", "released"]);
    await trees.open(await trees.catalog.tree({ ...options, image }), image);
    expect(await waiting).toBe(at(tree, "/before"));
    expect(textOf(tree, "/etc/motd")).toBe("hi");
  });

  it("refuses as stale what waited while the node's layer was dropped, and what comes after the tree is forgotten", async () => {
    const { tree, trees, image } = await openTree();
    const volume = trees.volume("node1", "root")!;
    await trees.release("node1", { abandon: true });
    const waiting = status(() => volume.write(image.idOf("/etc/fstab"), 0, Buffer.from("late"), true));
    await trees.catalog.dropNodeLayer("node1");
    await trees.open(await trees.catalog.tree({ ...options, image }), image);
    expect(await waiting).toBe("NFS3ERR_STALE");
    expect(textOf(tree, "/etc/fstab")).not.toContain("late");
    await trees.forget("node1");
    expect(await status(() => volume.getattr(tree.rootId))).toBe("NFS3ERR_STALE");
  });

  it("has made unstable writes durable before it is released", async () => {
    const storage = new Storage();
    const { trees, image } = await openTree({ storage });
    await trees.volume("node1", "root")!.write(image.idOf("/var/big"), 9, Buffer.from("unstable"), false);
    await trees.release("node1");
    const other = (await openTree({ storage, image })).tree;
    expect(Buffer.from((await other.read(image.idOf("/var/big"), 9, 8)).bytes).toString()).toBe("unstable");
  });
});

describe("a tree store", () => {
  it("goes on with a store of format 1, which is one of format 2 once it has a snapshot, and refuses those of later versions", async () => {
    const storage = new Storage();
    const formatOf = () => storage.keyValueStore.get(STORE_KEY)![3];
    const setFormat = (format: number) => {
      const bytes = Uint8Array.from(storage.keyValueStore.get(STORE_KEY)!);
      bytes[3] = format;
      return storage.keyValueStore.write([{ put: STORE_KEY, value: bytes }]);
    };
    const first = await openTree({ storage });
    const id = await makeFile(first.tree, "/etc", "mine", "kept");
    const { treeId, epoch } = first.tree;
    await first.trees.close();
    await setFormat(1);

    const { tree, trees, image } = await openTree({ storage });
    expect([at(tree, "/etc/mine"), textOf(tree, "/etc/mine"), tree.treeId, tree.epoch]).toEqual([
      id,
      "kept",
      treeId,
      epoch,
    ]);
    expect(formatOf()).toBe(1);
    await trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", "a"));
    expect(formatOf()).toBe(2);
    await trees.close();

    await setFormat(3);
    await expect(openTree({ storage, image })).rejects.toThrow(/3 is none of those that this version reads: 1, 2/);
  });

  it("drops what a node has written: handles become stale, other nodes keep theirs", async () => {
    const storage = new Storage();
    const { tree, trees, image } = await openTree({ storage });
    const other = await trees.tree({ node: "node2", kind: "root", image, imageId: "debian", generated: [] });
    const before = { epoch: tree.epoch, treeId: tree.treeId, fsid: tree.fsid };
    await tree.write(image.idOf("/var/big"), 0, new Uint8Array(10_000), true);
    await tree.remove(at(tree, "/etc"), name("fstab"));
    await makeFile(other, "/etc", "theirs", "x".repeat(5000));
    expect(trees.hasNodeLayer("node1")).toBe(true);
    await trees.dropNodeLayer("node1");
    expect(trees.hasNodeLayer("node1")).toBe(false);
    expect(tree.epoch).toBe(before.epoch + 1);
    expect({ treeId: tree.treeId, fsid: tree.fsid }).toEqual({ treeId: before.treeId, fsid: before.fsid });
    expect(tree.lookupPath("/etc/fstab")).toBeDefined();
    expect(Buffer.compare((await tree.read(image.idOf("/var/big"), 0, 100_000)).bytes, BIG)).toBe(0);
    expect(tree.usedBytes()).toBe(0);
    expect(textOf(other, "/etc/theirs")).toBe("x".repeat(5000));
    expect(storage.dataFiles.list("")).toHaveLength(1);
    const restarted = (await openTree({ storage, image })).tree;
    expect({ epoch: restarted.epoch, treeId: restarted.treeId }).toEqual({ epoch: tree.epoch, treeId: tree.treeId });
  });

  it("keeps what a node has written when it cannot be dropped", async () => {
    const { tree, trees, store } = await heldTree();
    store.isHeld = false;
    await makeFile(tree, "/etc", "mine", "x".repeat(10_000));
    const { epoch } = tree;
    store.isHeld = true;
    const dropped = expect(trees.dropNodeLayer("node1")).rejects.toThrow("ENOSPC");
    await new Promise(setImmediate);
    await store.fail(diskFull());
    await dropped;
    expect(textOf(tree, "/etc/mine")).toBe("x".repeat(10_000));
    expect(tree.epoch).toBe(epoch);
  });

  it("keeps unstable data too when the layer cannot be dropped", async () => {
    const { tree, trees, store, storage, image } = await heldTree();
    const id = image.idOf("/var/big");
    await tree.write(id, 4096, Buffer.from("unstable"), false);
    const dropped = expect(trees.dropNodeLayer("node1")).rejects.toThrow("ENOSPC");
    await new Promise(setImmediate);
    await store.fail(diskFull());
    await dropped;
    store.isHeld = false;
    await tree.commit(id);
    const restarted = (await openTree({ storage, image })).tree;
    expect(Buffer.from((await restarted.read(id, 4096, 8)).bytes).toString()).toBe("unstable");
  });

  it("goes on with the new layer when it is dropped while other generated files are laid under it", async () => {
    const storage = new Storage();
    const { tree, trees, image } = await openTree({ storage });
    await makeFile(tree, "/etc", "mine", "");
    const { epoch } = tree;
    const generated = [{ kind: "file", path: "/etc/new", content: Buffer.from("new"), ...ROOT } as const];
    await Promise.all([layGenerated(trees, image, generated), trees.dropNodeLayer("node1")]);
    expect(tree.epoch).toBe(epoch + 1);
    expect(tree.lookupPath("/etc/mine")).toBeUndefined();
    expect(textOf(tree, "/etc/new")).toBe("new");
    await makeFile(tree, "/etc", "later", "kept");
    const restarted = (await openTree({ storage, image, generated })).tree;
    expect(textOf(restarted, "/etc/later")).toBe("kept");
  });

  it("makes durable what it can when it closes, though one node's data cannot be", async () => {
    const storage = new Storage();
    const { tree, trees, image } = await openTree({ storage });
    const other = await trees.tree({ node: "node2", kind: "root", image, imageId: "debian", generated: [] });
    const { open } = storage.dataFiles;
    let opened = 0;
    storage.dataFiles.open = async (file, how) => {
      const dataFile = await open.call(storage.dataFiles, file, how);
      if (opened++ === 0) dataFile.sync = () => Promise.reject(diskFull());
      return dataFile;
    };
    for (const each of [tree, other]) await each.write(image.idOf("/var/big"), 0, Buffer.from("new"), false);
    await expect(trees.close()).rejects.toThrow("ENOSPC");
    const restarted = (await openTree({ storage, image, node: "node2" })).tree;
    expect(Buffer.from((await restarted.read(image.idOf("/var/big"), 0, 3)).bytes).toString()).toBe("new");
  });

  it("refuses another image under what a node has written, and takes it once that is dropped", async () => {
    const storage = new Storage();
    const { tree, trees } = await openTree({ storage });
    const epoch = tree.epoch;
    await makeFile(tree, "/etc", "mine", "");
    const newer = {
      node: "node1",
      kind: "root",
      image: new MemoryImage({ new: "image" }),
      imageId: "newer",
      generated: [],
    } as const;
    await expect(trees.tree(newer)).rejects.toThrow(
      /^Cannot lay the root tree of node node1 over image newer: what the node has written belongs to image debian.*bramble nodes reset node1$/,
    );
    expect(textOf(tree, "/etc/mine")).toBe("");
    await trees.dropNodeLayer("node1");
    const moved = await trees.tree(newer);
    expect(moved).toBe(tree);
    expect(listing(moved, "/")).toEqual([".", "..", "new"]);
    expect(moved.epoch).toBeGreaterThan(epoch);
  });

  it("keeps a node without writes to one record a tree, and shares the image's paths", async () => {
    const storage = new Storage();
    const image = imageOfADistribution();
    const { trees } = await openTree({ storage, image });
    const count = () => [...storage.keyValueStore.range(Uint8Array.of(0), Uint8Array.of(255))].length;
    const before = count();
    await trees.tree({ node: "node2", kind: "root", image, imageId: "debian", generated: [] });
    expect(count() - before).toBe(1);
    expect(storage.dataFiles.list("")).toEqual([]);
  });

  it("never gives an id of a removed file to another one, not even after a restart", async () => {
    const storage = new Storage();
    const image = imageOfADistribution();
    const used = new Set<number>();
    for (let round = 0; round < 3; round += 1) {
      const { tree } = await openTree({ storage, image });
      for (let index = 0; index < 5; index += 1) {
        const id = await makeFile(tree, "/etc", "temporary", "");
        expect(used.has(id)).toBe(false);
        used.add(id);
        await tree.remove(at(tree, "/etc"), name("temporary"));
        expect(await status(() => tree.getattr(id))).toBe("NFS3ERR_STALE");
      }
    }
  });

  it("removes the contents of removed files, and those that a crash left behind", async () => {
    const storage = new Storage();
    const { tree, image } = await openTree({ storage });
    await makeFile(tree, "/var", "large", "x".repeat(10_000));
    const [folder] = storage.dataFiles.list("");
    expect(storage.dataFiles.list(folder!)).toHaveLength(1);
    await storage.dataFiles.open(`${folder}/fffffff`, { make: true });
    await storage.dataFiles.open("9999/1", { make: true });
    const restarted = (await openTree({ storage, image })).tree;
    await restarted.remove(at(restarted, "/var"), name("large"));
    expect(storage.dataFiles.list(folder!)).toEqual([]);
    expect(storage.dataFiles.list("")).toEqual([]);
  });

  it("refuses an image whose ids leave no room", async () => {
    const image = imageOfADistribution();
    Object.defineProperty(image, "lastId", { value: 2 ** 31 + 1 });
    await expect(openTree({ image })).rejects.toThrow("Cannot make a tree of image debian");
  });
});
