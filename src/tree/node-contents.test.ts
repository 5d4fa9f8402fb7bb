/** Contents under way: what happens to a file while its data are still on their way to the disk. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DataFile, DataFiles } from "../ports.ts";
import { RANGES_MAX } from "./file-data.ts";
import { MemoryContent, MemoryDataFiles } from "./memory-store.ts";
import type { Tree } from "./tree.ts";
import { at, BIG, imageOfADistribution, makeFile, name, openTree, Storage, status, textOf } from "./tree-fixture.ts";

/** Data files whose calls do what `before` says first: wait, or fail. */
class GuardedDataFiles extends MemoryDataFiles {
  readonly before: (
    call: "open" | "read" | "write" | "truncate" | "sync" | "remove",
    parts?: readonly Uint8Array[],
  ) => Promise<void>;

  constructor(before: GuardedDataFiles["before"]) {
    super();
    this.before = before;
  }

  override async open(...args: Parameters<DataFiles["open"]>): Promise<DataFile> {
    await this.before("open");
    const file = await super.open(...args);
    return {
      isNew: file.isNew,
      readSync: (target, offset) => file.readSync(target, offset),
      read: async (target, offset) => {
        await this.before("read");
        return file.read(target, offset);
      },
      write: async (parts, offset) => {
        await this.before("write", parts);
        return file.write(parts, offset);
      },
      truncate: async (sizeBytes) => {
        await this.before("truncate");
        return file.truncate(sizeBytes);
      },
      sync: async () => {
        await this.before("sync");
        return file.sync();
      },
      close: () => file.close(),
    };
  }

  override async remove(file: string): Promise<void> {
    await this.before("remove");
    return super.remove(file);
  }
}

type Change = { kind: "write"; offset: number; bytes: Uint8Array; stable: boolean } | { kind: "resize"; size: number };
type Step = Change | { kind: "read" } | { kind: "commit" } | { kind: "chmod" };

const offset = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4095, 4096, 8192, 50_000));
const bytes = fc
  .tuple(fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 30 })), fc.integer({ min: 1, max: 255 }))
  .map(([count, byte]) => new Uint8Array(count).fill(byte));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("write" as const), offset, bytes, stable: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("resize" as const), size: offset }) },
  { weight: 1, arbitrary: fc.constant({ kind: "read" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "commit" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "chmod" as const }) },
);

function after(content: Uint8Array, change: Change): Uint8Array {
  if (change.kind === "resize") return resized(content, change.size);
  const grown = resized(content, Math.max(content.length, change.offset + change.bytes.length));
  grown.set(change.bytes, change.offset);
  return grown;
}

function resized(content: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(size);
  result.set(content.subarray(0, size));
  return result;
}

/** Every byte that was read is that of a state between those before the read began and after it ended. */
function expectOneOf(states: readonly Uint8Array[], read: Uint8Array): void {
  expect(states.map((state) => state.length)).toContain(read.length);
  const wrong = read.findIndex((byte, index) => !states.some((state) => (state[index] ?? 0) === byte));
  expect(wrong).toBe(-1);
}

async function runSteps(tree: Tree, id: number, steps: readonly Step[], isTogether: readonly boolean[]) {
  const states = [(await tree.read(id, 0, 2 ** 20)).bytes];
  let answered = 0;
  const running: Promise<unknown>[] = [];
  for (const [index, step] of steps.entries()) {
    if (step.kind === "read") {
      const first = answered;
      running.push(
        Promise.resolve(tree.read(id, 0, 2 ** 20)).then((result) => expectOneOf(states.slice(first), result.bytes)),
      );
    } else if (step.kind === "commit") running.push(Promise.resolve(tree.commit(id)));
    else if (step.kind === "chmod") running.push(Promise.resolve(tree.setattr(id, { mode: 0o600 + (index % 8) })));
    else {
      const number = states.push(after(states.at(-1)!, step)) - 1;
      const done =
        step.kind === "write"
          ? tree.write(id, step.offset, step.bytes, step.stable)
          : tree.setattr(id, { sizeBytes: step.size });
      running.push(
        Promise.resolve(done).then(() => {
          answered = Math.max(answered, number);
        }),
      );
    }
    if (!isTogether[index % isTogether.length]) await Promise.all(running);
  }
  await Promise.all(running);
  return states.at(-1)!;
}

const diskFailure = (code: string) => Object.assign(new Error(`${code}: made up`), { code });

describe("a file's contents", () => {
  it("are those of the changes in their order, whatever waits for the disk, and survive a restart once committed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.constantFrom("/var/big", "/etc/fstab"),
        fc.array(step, { maxLength: 25, size: "max" }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
        async (scheduler, path, steps, isTogether) => {
          const storage = new Storage();
          let isHeld = false;
          storage.dataFiles = new GuardedDataFiles((call) => {
            return isHeld ? scheduler.schedule(Promise.resolve(), call) : Promise.resolve();
          });
          const image = imageOfADistribution();
          const { tree } = await openTree({ storage, image });
          const id = at(tree, path);
          isHeld = true;
          const expected = await scheduler.waitFor(runSteps(tree, id, steps, isTogether));
          await scheduler.waitFor(Promise.resolve(tree.commit(id)));
          isHeld = false;
          expect(Buffer.compare((await tree.read(id, 0, 2 ** 20)).bytes, expected)).toBe(0);
          const restarted = (await openTree({ storage, image })).tree;
          expect(Buffer.compare((await restarted.read(id, 0, 2 ** 20)).bytes, expected)).toBe(0);
          expect(restarted.getattr(id).sizeBytes).toBe(expected.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("are taken together when they follow one another, and each writer hears of its own failure", async () => {
    const written: number[][] = [];
    const storage = new Storage();
    let failing = 0;
    storage.dataFiles = new GuardedDataFiles(async (call, parts) => {
      if (call !== "write" || parts === undefined) return;
      written.push(parts.map((part) => part[0] ?? 0));
      if (parts.some((part) => part[0] === failing)) throw diskFailure("ENOSPC");
    });
    const { tree } = await openTree({ storage });
    const id = await makeFile(tree, "/var", "log", "");
    const part = (byte: number) => new Uint8Array(10_000).fill(byte);
    const writeAll = (bytes: number[]) =>
      Promise.all(bytes.map((byte, index) => status(() => tree.write(id, index * 10_000, part(byte), false))));
    await writeAll([1, 2, 3, 4]);
    expect(written).toEqual([[0], [1], [2, 3, 4]]);
    failing = 7;
    expect(await writeAll([5, 6, 7, 8])).toEqual(["NFS3_OK", "NFS3_OK", "NFS3ERR_NOSPC", "NFS3_OK"]);
    const { bytes } = await tree.read(id, 0, 100_000);
    expect([bytes[0], bytes[10_000], bytes[20_000], bytes[30_000]]).toEqual([5, 6, 3, 8]);
  });

  it("are gone with the file, and the write under way is told", async () => {
    const storage = new Storage();
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    storage.dataFiles = new GuardedDataFiles((call) => (call === "write" ? gate : Promise.resolve()));
    const { tree } = await openTree({ storage });
    const id = await tree.create(at(tree, "/var"), name("file"), { kind: "guarded" }, { mode: 0o644, uid: 0, gid: 0 });
    const written = status(() => tree.write(id, 0, new Uint8Array(10_000), false));
    await new Promise(setImmediate);
    const removed = status(() => tree.remove(at(tree, "/var"), name("file")));
    await new Promise(setImmediate);
    go();
    expect(await Promise.all([written, removed])).toEqual(["NFS3ERR_STALE", "NFS3_OK"]);
    expect(storage.dataFiles.list(storage.dataFiles.list("")[0] ?? "0")).toEqual([]);
  });
});

describe("a failing disk", () => {
  async function failingTree() {
    const storage = new Storage();
    const failures = new Map<string, string>();
    storage.dataFiles = new GuardedDataFiles(async (call) => {
      const code = failures.get(call);
      if (code !== undefined) throw diskFailure(code);
    });
    const opened = await openTree({ storage });
    return { ...opened, failures, id: opened.image.idOf("/var/big") };
  }

  it.each([
    ["EIO", "NFS3ERR_IO"],
    ["ENOSPC", "NFS3ERR_NOSPC"],
    ["EDQUOT", "NFS3ERR_DQUOT"],
    ["EROFS", "NFS3ERR_ROFS"],
  ])("with %s is told as %s by the write that met it, and leaves the file as it was", async (code, expected) => {
    const { tree, failures, id } = await failingTree();
    failures.set("write", code);
    expect(await status(() => tree.write(id, 60_000, new Uint8Array(10), false))).toBe(expected);
    expect(Buffer.compare((await tree.read(id, 0, 2 ** 20)).bytes, BIG)).toBe(0);
    failures.clear();
    expect(await status(() => tree.write(id, 60_000, new Uint8Array(10), true))).toBe("NFS3_OK");
    expect(tree.getattr(id).sizeBytes).toBe(60_010);
  });

  it("that lost unstable data is told by the commit, and by another verifier to those who did not ask", async () => {
    const { tree, failures, id, storage, image } = await failingTree();
    await tree.write(id, 60_000, Buffer.from("lost"), false);
    failures.set("sync", "EIO");
    const before = tree.lossCount;
    expect(await status(() => tree.commit(id))).toBe("NFS3ERR_IO");
    expect(tree.lossCount).toBe(before + 1);
    failures.clear();
    // The system would say now that all is well: it has given up the data.
    expect(await status(() => tree.commit(id))).toBe("NFS3_OK");
    expect(tree.getattr(id).sizeBytes).toBe(BIG.length);
    await tree.write(id, 60_000, Buffer.from("sent again"), true);
    expect(textOf((await openTree({ storage, image })).tree, "/var/big").endsWith("sent again")).toBe(true);
  });

  it("does not let a write stand on data that were lost while it was under way", async () => {
    const storage = new Storage();
    const waiting: (() => void)[] = [];
    let failsSync = false;
    let isHeld = false;
    storage.dataFiles = new GuardedDataFiles((call) => {
      if (call === "sync" && failsSync) return Promise.reject(diskFailure("EIO"));
      if (call !== "write" || !isHeld) return Promise.resolve();
      return new Promise((resolve) => waiting.push(resolve));
    });
    const { tree, image } = await openTree({ storage });
    const id = image.idOf("/var/big");
    await tree.write(id, 60_000, new Uint8Array(10), false);
    isHeld = true;
    const second = status(() => tree.write(id, 70_000, new Uint8Array(10), false));
    failsSync = true;
    expect(await status(() => tree.commit(id))).toBe("NFS3ERR_IO");
    for (const go of waiting) go();
    expect(await second).toBe("NFS3ERR_IO");
    expect(tree.getattr(id).sizeBytes).toBe(BIG.length);
  });

  it("that comes between a write and its record leaves zeros where the file grows over what was not written", async () => {
    const { tree, failures, id } = await failingTree();
    await tree.write(id, 50_000, new Uint8Array(10).fill(1), true);
    const partly = tree.write(id, 55_000, new Uint8Array(100).fill(9), false);
    await partly;
    failures.set("sync", "EIO");
    await status(() => tree.commit(id));
    failures.clear();
    await tree.setattr(id, { sizeBytes: 60_000 });
    const { bytes } = await tree.read(id, 50_010, 10_000);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });
});

describe("a layer that is given up", () => {
  it("does not promise what it will not keep: a commit under way is refused", async () => {
    const storage = new Storage();
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    storage.dataFiles = new GuardedDataFiles((call) => (call === "sync" ? gate : Promise.resolve()));
    const { tree, image } = await openTree({ storage });
    const id = image.idOf("/var/big");
    await tree.write(id, 0, new Uint8Array(10), false);
    const committed = status(() => tree.commit(id));
    const takeBack = tree.nodeLayer.contents.abandon();
    go();
    expect(await committed).toBe("NFS3ERR_STALE");
    expect(await status(() => tree.write(id, 0, new Uint8Array(10), false))).toBe("NFS3ERR_STALE");
    takeBack();
    expect(await status(() => tree.commit(id))).toBe("NFS3_OK");
  });
});

it("grows in memory as a file does", () => {
  const content = new MemoryContent();
  content.write(Uint8Array.of(1, 2), 3);
  content.truncate(4);
  content.truncate(6);
  const target = new Uint8Array(8);
  expect([content.read(target, 0), ...target]).toEqual([6, 0, 0, 0, 1, 0, 0, 0, 0]);
});

describe("a large file of a snapshot that is mostly holes, as the image of a file system is", () => {
  it("stays so when it is written to in many places, and shows nothing of a write that was lost", async () => {
    const [sizeBytes, stepBytes, count] = [40 * 2 ** 20, 32 * 1024, RANGES_MAX + 100];
    let writtenBytes = 0;
    const storage = new Storage();
    storage.dataFiles = new GuardedDataFiles(async (call, parts = []) => {
      if (call === "write") for (const part of parts) writtenBytes += part.length;
    });
    const { tree, trees, image } = await openTree({ storage });
    const id = await makeFile(tree, "/etc", "image", "");
    await tree.setattr(id, { sizeBytes });
    const kept = Buffer.alloc(100_000, "kept");
    await tree.write(id, 10 * 2 ** 20, kept, true);
    await trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", "a"));
    await tree.write(id, 0, Buffer.from("first"), true);
    const lostAt = 5 * stepBytes + stepBytes / 2;
    await tree.write(id, lostAt, Buffer.from("lost"), false);

    // The power went: nobody had asked for that write to be kept.
    const again = (await openTree({ storage, image })).tree;
    const expected = Buffer.alloc(sizeBytes);
    kept.copy(expected, 10 * 2 ** 20);
    expected.write("first");
    writtenBytes = 0;
    for (let index = 0; index < count; index += 1) {
      const word = Buffer.from(`block ${index}`);
      await again.write(id, index * stepBytes, word, index % 100 === 0);
      word.copy(expected, index * stepBytes);
    }
    const found = Buffer.alloc(sizeBytes);
    for (let offset = 0; offset < sizeBytes; offset += 2 ** 20) {
      found.set((await again.read(id, offset, 2 ** 20)).bytes, offset);
    }
    expect(found.equals(expected)).toBe(true);
    // A block for each write, and gaps that were not empty.
    expect(writtenBytes).toBeLessThan(2 * count * 4096);
  });
});
