/** `durability: async`: answered before it is durable, in order all the same. */
import { describe, expect, it } from "vitest";
import type { AttributeChanges } from "../nfs/volume.ts";
import type { Mutation, WriteTiming } from "../ports.ts";
import { MemoryStore } from "./memory-store.ts";
import { at, imageOfADistribution, name, ROOT, Storage, status } from "./tree-fixture.ts";
import { openTreeStore } from "./tree-store.ts";

/** Holds back what may wait until something comes that may not. */
class PatientStore extends MemoryStore {
  readonly durable: (readonly Mutation[])[] = [];
  isStalled = false;
  #late: { mutations: readonly Mutation[]; resolve: () => void; reject: (error: Error) => void }[] = [];

  override async write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void> {
    await super.write(mutations);
    const stored = new Promise<void>((resolve, reject) => this.#late.push({ mutations, resolve, reject }));
    if (timing === undefined && !this.isStalled) this.commit();
    else if (timing !== undefined) expect(timing.withinMs).toBeLessThanOrEqual(1000);
    return stored;
  }

  get lateCount(): number {
    return this.#late.length;
  }

  commit(count = this.#late.length): void {
    for (const { mutations, resolve } of this.#late.splice(0, count)) {
      this.durable.push(mutations);
      resolve();
    }
  }

  fail(): void {
    for (const { reject } of this.#late.splice(0)) reject(Object.assign(new Error("EIO"), { code: "EIO" }));
  }
}

async function openLate(durability: "sync" | "async" = "async") {
  const storage = new Storage();
  const store = new PatientStore();
  storage.keyValueStore = store;
  const trees = await openTreeStore(storage);
  const image = imageOfADistribution();
  const options = { node: "node1", kind: "root", image, imageId: "debian", generated: [] } as const;
  const tree = await trees.tree({ ...options, rules: { durability } });
  return { tree, store, image, storage };
}

describe("durability: sync", () => {
  it.each<[string, AttributeChanges, number]>([
    ["sets owner and mode to what they are", { mode: 0o755, uid: 0, gid: 0 }, 1],
    ["sets nothing at all", {}, 1],
    ["sets another mode", { mode: 0o700, uid: 0, gid: 0 }, 0],
    ["sets another owner", { uid: 1 }, 0],
    ["sets another group", { gid: 1 }, 0],
    ["sets a time", { mtime: 1n }, 0],
    ["sets the time of access", { atime: "server" }, 0],
  ])("answers a change before it is durable only if it changes nothing but ctime: it %s", async (_, changes, late) => {
    const { tree, store, image } = await openLate("sync");
    const before = tree.getattr(image.idOf("/etc"));
    expect(before).toMatchObject({ mode: 0o755, uid: 0, gid: 0 });
    const stored = tree.setattr(image.idOf("/etc"), changes);
    expect(tree.getattr(image.idOf("/etc")).ctimeNs).toBeGreaterThan(before.ctimeNs);
    await stored;
    expect(store.lateCount).toBe(late);
    await tree.mkdir(tree.rootId, name("new"), ROOT);
    expect(store.lateCount).toBe(0);
  });

  it("waits for the disk with a guarded change, which may be repeated after a restart, whatever it sets", async () => {
    const { tree, store, image } = await openLate("sync");
    const { ctimeNs } = tree.getattr(image.idOf("/etc"));
    await tree.setattr(image.idOf("/etc"), { uid: 0 }, ctimeNs);
    expect(store.lateCount).toBe(0);
  });
});

describe("durability: async", () => {
  it("answers changes of names and attributes before they are durable", async () => {
    const { tree, store, image } = await openLate();
    await tree.mkdir(tree.rootId, name("new"), ROOT);
    await tree.setattr(image.idOf("/etc"), { mode: 0o700 });
    await tree.remove(at(tree, "/etc"), name("fstab"));
    expect(store.lateCount).toBe(3);
    expect(tree.lookupPath("/etc/fstab")).toBeUndefined();
  });

  it.each([
    ["a commit", false, true],
    ["a stable write", true, false],
  ])("makes everything before it durable with %s", async (_, stable, commits) => {
    const { tree, store } = await openLate();
    const id = await tree.create(at(tree, "/etc"), name("file"), { kind: "guarded" }, ROOT);
    await tree.rename(at(tree, "/etc"), name("file"), at(tree, "/var"), name("moved"));
    await tree.write(id, 0, Buffer.from("data"), stable);
    if (commits) await tree.commit(id);
    expect(store.lateCount).toBe(0);
  });

  it("makes a file's names durable with a commit that finds no data to write", async () => {
    const { tree, store } = await openLate();
    const id = await tree.create(at(tree, "/etc"), name("file"), { kind: "guarded" }, ROOT);
    expect(store.lateCount).toBe(1);
    await tree.commit(id);
    expect(store.lateCount).toBe(0);
  });

  it("makes a file's names durable with a commit that finds its data on their way to the disk", async () => {
    const { tree, store } = await openLate();
    const id = await tree.create(at(tree, "/etc"), name("file"), { kind: "guarded" }, ROOT);
    await tree.commit(id);
    await tree.write(id, 0, Buffer.from("data"), false);
    store.isStalled = true;
    const first = tree.commit(id);
    await new Promise(setImmediate);
    await tree.link(id, at(tree, "/var"), name("other"));
    const second = tree.commit(id);
    expect(store.lateCount).toBe(2);
    store.isStalled = false;
    store.commit(1);
    await Promise.all([first, second]);
    expect(store.lateCount).toBe(0);
  });

  it("changes the write verifier when something that was answered was lost", async () => {
    const { tree, store } = await openLate();
    await tree.mkdir(tree.rootId, name("new"), ROOT);
    const { lossCount } = tree;
    store.fail();
    await new Promise(setImmediate);
    expect(tree.lossCount).toBe(lossCount + 1);
    expect(await status(() => tree.mkdir(tree.rootId, name("other"), ROOT))).toBe("NFS3_OK");
  });
});
