import { describe, expect, it } from "vitest";
import type { Mutation } from "../ports.ts";
import type { MemoryImage } from "./memory-image.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";
import { checkStore, repairStore, type StoreCheckOptions } from "./store-check.ts";
import {
  decodeInode,
  encodeEntry,
  encodeId,
  encodeInode,
  encodeLayerId,
  encodeUsage,
  entryKey,
  inodeKey,
  nextIdKey,
  parentKey,
  usageKey,
} from "./store-records.ts";
import { decodeTree, encodeTree, STORE_KEY, snapshotKey, type TreeRecord, treeKey } from "./structure-records.ts";
import { at, imageOfADistribution, makeFile, name, openTree, ROOT, Storage } from "./tree-fixture.ts";

/** A store with a tree that has something of everything, closed. Its active layer is 2, on layer 1. */
async function closedStore() {
  const storage = new Storage();
  const image = imageOfADistribution();
  const { tree, trees } = await openTree({ storage, image });
  await makeFile(tree, "/etc", "mine", "small");
  await makeFile(tree, "/var", "large", "x".repeat(10_000));
  await trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", "a"));
  await tree.mkdir(at(tree, "/var"), name("lib"), ROOT);
  await tree.rename(at(tree, "/usr"), name("share"), at(tree, "/var/lib"), name("shared"));
  await tree.write(at(tree, "/var/big"), 4096, Buffer.from("part"), true);
  await tree.link(at(tree, "/etc/fstab"), at(tree, "/etc"), name("fstab.link"));
  await tree.remove(at(tree, "/usr/bin"), name("perl"));
  await tree.remove(at(tree, "/etc"), name("os-release"));
  const ids = {
    etc: at(tree, "/etc"),
    mine: at(tree, "/etc/mine"),
    large: at(tree, "/var/large"),
    big: at(tree, "/var/big"),
    fstab: at(tree, "/etc/fstab"),
    shared: at(tree, "/var/lib/shared"),
  };
  await trees.close();
  return { storage, image, ids };
}

function optionsFor(storage: Storage, image: MemoryImage): StoreCheckOptions {
  return { ...storage, keyValueStore: storage.keyValueStore, dataFiles: storage.dataFiles, imageOf: () => image };
}

type Ids = Awaited<ReturnType<typeof closedStore>>["ids"];

interface Stored {
  ids: Ids;
  /** Of node1. */
  tree: TreeRecord;
  /** The record of a file as it would be changed. */
  edited(layer: number, id: number, edit: (inode: InodeOverride) => Partial<InodeOverride>): Mutation;
}

const [LOWER, ACTIVE] = [1, 2];
const put = (key: Uint8Array, value: Uint8Array): Mutation => ({ put: key, value });

describe("the check of a store", () => {
  it("finds nothing in a sound one, and says what it looked at", async () => {
    const { storage, image } = await closedStore();
    await storage.dataFiles.open("lost+found/1", { make: true });
    const { findings, counts } = checkStore(optionsFor(storage, image));
    expect(findings).toEqual([]);
    expect(counts).toMatchObject({ trees: 1, snapshots: 1, layers: 2, dataFiles: 2 });
    expect(counts.records).toBeGreaterThan(15);
  });

  it.each<[string, (ids: Ids) => Mutation, RegExp]>([
    [
      "a record that cannot be read",
      ({ mine }) => put(inodeKey(LOWER, mine), Uint8Array.of(1, 2, 3)),
      /^layer 1: record [0-9a-f]+: .*inode record/,
    ],
    [
      "a record of no known kind",
      () => put(Buffer.from("L\0\0\0\x02z"), Uint8Array.of(1)),
      /^layer 2: a record of unknown kind/,
    ],
    [
      "a tree record that cannot be read",
      () => put(treeKey("node1", "root"), Uint8Array.of(1)),
      /^the root tree of node1: /,
    ],
    [
      "a store record that cannot be read",
      () => put(STORE_KEY, Uint8Array.of(0, 0, 0, 9)),
      /^the store record: .* 9 is none of/,
    ],
    [
      "a name that leads nowhere",
      ({ etc }) => put(entryKey(ACTIVE, etc, "ghost"), encodeEntry({ name: name("ghost"), id: 4_000_000, cookie: 99 })),
      /^the root tree of node1: "ghost" in directory \d+ leads to file 4000000, which is not there$/,
    ],
    [
      "a name too many",
      ({ etc, mine }) =>
        put(entryKey(ACTIVE, etc, "mine2"), encodeEntry({ name: name("mine2"), id: mine, cookie: 99 })),
      /^the root tree of node1: file \d+ counts 1 links, and should count 2$/,
    ],
    [
      "a second name of a directory",
      ({ etc, shared }) =>
        put(entryKey(ACTIVE, etc, "again"), encodeEntry({ name: name("again"), id: shared, cookie: 99 })),
      /^the root tree of node1: directory \d+ has 2 names$/,
    ],
    [
      "a lost name",
      ({ etc }) => ({ remove: entryKey(ACTIVE, etc, "fstab.link") }),
      /^the root tree of node1: file \d+ counts 2 links, and should count 1$/,
    ],
    [
      "a name of the image that is no longer hidden",
      ({ etc }) => ({ remove: entryKey(ACTIVE, etc, "os-release") }),
      /^the root tree of node1: "os-release" in directory \d+ leads to file \d+, which is not there$/,
    ],
    [
      "a lost record",
      ({ mine }) => ({ remove: inodeKey(LOWER, mine) }),
      /"mine" in directory \d+ leads to file \d+, which is not there$/,
    ],
    [
      "a lost record of a directory",
      ({ etc }) => ({ remove: inodeKey(ACTIVE, etc) }),
      /^layer 2: directory \d+ has names but no record$/,
    ],
    [
      "a counter that is wrong",
      () => put(usageKey(LOWER), encodeUsage({ contentBytes: 1, files: 2 })),
      /^layer 1: its counter says 1 bytes in 2 files, and it holds 10005 in \d$/,
    ],
    [
      "a file id that would be given again",
      () => put(nextIdKey(ACTIVE), encodeId(100)),
      /^the root tree of node1: the next file id 100 is not above \d+/,
    ],
  ])("finds %s", async (_, damage, expected) => {
    const { storage, image, ids } = await closedStore();
    await storage.keyValueStore.write([damage(ids)]);
    const texts = checkStore(optionsFor(storage, image)).findings.map(({ text }) => text);
    expect(texts).toContainEqual(expect.stringMatching(expected));
  });

  it.each<[string, (stored: Stored) => Mutation[], RegExp]>([
    [
      "ranges of a file's content that are out of order",
      ({ ids, edited }) => [edited(ACTIVE, ids.big, ({ data }) => ({ data: { ...data!, ranges: [8192, 4096] } }))],
      /^layer 2: file \d+: the ranges of its content are out of order$/,
    ],
    [
      "a range without an end",
      ({ ids, edited }) => [edited(ACTIVE, ids.big, ({ data }) => ({ data: { ...data!, ranges: [4096] } }))],
      /^layer 2: file \d+: a range of its content has no end$/,
    ],
    [
      "a file whose content has another size",
      ({ ids, edited }) => [
        edited(LOWER, ids.mine, ({ attributes }) => ({ attributes: { ...attributes, sizeBytes: 99 } })),
      ],
      /^layer 1: file \d+: its record holds 5 bytes of content, and its size is 99$/,
    ],
    [
      "a file that inherits more than its size",
      ({ ids, edited }) => [
        edited(ACTIVE, ids.big, ({ attributes }) => ({ attributes: { ...attributes, sizeBytes: 8192 } })),
      ],
      /^layer 2: file \d+: it inherits 50000 bytes, and its size is 8192$/,
    ],
    [
      "a new file that inherits",
      ({ ids, edited }) => [edited(LOWER, ids.large, ({ data }) => ({ data: { ...data!, inheritedBytes: 10 } }))],
      /^layer 1: file \d+: it inherits 10 bytes, but it was made in this layer$/,
    ],
    [
      "a file that inherits more than there is below",
      ({ ids, edited }) => [
        edited(ACTIVE, ids.big, ({ attributes, data }) => ({
          attributes: { ...attributes, sizeBytes: 60_000 },
          data: { ...data!, inheritedBytes: 60_000 },
        })),
      ],
      /^the root tree of node1: file \d+ inherits 60000 bytes of a file of 50000$/,
    ],
    [
      "a directory that says it is elsewhere",
      ({ ids, edited }) => [edited(ACTIVE, ids.shared, () => ({ parentId: ids.etc }))],
      /^the root tree of node1: directory \d+ is in directory \d+, and says it is in \d+$/,
    ],
    [
      "two trees that write to one layer",
      ({ tree }) => [put(treeKey("node2", "root"), encodeTree({ ...tree, treeId: 7 }))],
      /^the root tree of node2 and the root tree of node1 write to the same layer 2$/,
    ],
    [
      "two trees of one number",
      ({ tree }) => [put(treeKey("node2", "root"), encodeTree({ ...tree, layerId: 9 }))],
      /^the root tree of node2 and the root tree of node1 have the same number 1$/,
    ],
    [
      "a tree that lies on a layer which another one writes",
      ({ tree }) => [
        put(treeKey("node2", "root"), encodeTree({ ...tree, treeId: 7, layerId: 9 })),
        put(parentKey(9), encodeLayerId(ACTIVE)),
      ],
      /^the root tree of node2 lies on layer 2, which the root tree of node1 writes$/,
    ],
    ["no store record", () => [{ remove: STORE_KEY }], /^the store record is missing$/],
  ])("finds %s", async (_, damage, expected) => {
    const { storage, image, ids } = await closedStore();
    const edited: Stored["edited"] = (layer, id, edit) => {
      const inode = decodeInode(storage.keyValueStore.get(inodeKey(layer, id))!);
      if (inode === REMOVED) throw new Error(`file ${id} is removed`);
      return put(inodeKey(layer, id), encodeInode({ ...inode, ...edit(inode) }));
    };
    const tree = decodeTree(storage.keyValueStore.get(treeKey("node1", "root"))!);
    await storage.keyValueStore.write(damage({ ids, tree, edited }));
    const { findings } = checkStore(optionsFor(storage, image));
    const found = findings.find(({ text }) => expected.test(text));
    expect(found, findings.map(({ text }) => text).join("\n")).toMatchObject({ kind: "damage" });
    expect(found).not.toHaveProperty("repair");
  });

  it("finds files in the folder of contents that nothing leads to", async () => {
    const { storage, image, ids } = await closedStore();
    const inline = ids.mine.toString(16);
    await storage.dataFiles.open(`1/${inline}`, { make: true });
    await storage.dataFiles.open("holiday/1", { make: true });
    expect(checkStore(optionsFor(storage, image)).findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([
      "damage: the folder of data files has an entry holiday that is no layer",
      `leftover: layer 1: data file ${inline} whose file keeps its content elsewhere`,
    ]);
  });

  it("finds content that is lost: a data file that is gone, and one that ends too early", async () => {
    const { storage, image, ids } = await closedStore();
    await storage.dataFiles.remove(`1/${ids.large.toString(16)}`);
    const cut = await storage.dataFiles.open(`2/${ids.big.toString(16)}`, { make: false });
    await cut.truncate(5000);
    expect(checkStore(optionsFor(storage, image)).findings).toEqual([
      { kind: "damage", text: `layer 1: file ${ids.large}: its data file is missing: content is lost` },
      { kind: "damage", text: `layer 2: file ${ids.big}: its data file ends before byte 8192: content is lost` },
    ]);
  });

  it("finds layers that lie on each other in a circle, and checks them all the same", async () => {
    const { storage, image } = await closedStore();
    await storage.keyValueStore.write([put(parentKey(LOWER), encodeLayerId(ACTIVE))]);
    const { findings, counts } = checkStore(optionsFor(storage, image));
    const text = `Cannot open layer ${ACTIVE}: its parents are a circle`;
    expect(findings.filter((finding) => finding.text === `the root tree of node1: ${text}`)).toHaveLength(1);
    expect(findings.filter(({ kind }) => kind === "leftover")).toEqual([]);
    expect(counts.layers).toBe(2);
  });

  it("goes on with the layers before a key that cannot be read", async () => {
    const { storage, image, ids } = await closedStore();
    await storage.keyValueStore.write([
      put(Buffer.from("L\xff", "latin1"), Uint8Array.of(1)),
      { remove: inodeKey(ACTIVE, ids.etc) },
    ]);
    const { findings, counts } = checkStore(optionsFor(storage, image));
    const texts = findings.map(({ text }) => text);
    expect(texts).toContainEqual(expect.stringMatching(/^a layer's key: Cannot read layer key /));
    expect(texts).toContainEqual(expect.stringMatching(/^layer 2: directory \d+ has names but no record$/));
    expect(counts.layers).toBe(2);
  });

  it("says that an image is not there", async () => {
    const { storage, image } = await closedStore();
    const { findings } = checkStore({ ...optionsFor(storage, image), imageOf: () => undefined });
    expect(findings.map(({ text }) => text)).toContain(
      "the root tree of node1: its image debian is not there; names and links were not checked",
    );
  });

  /** Each with all else taken away that leads to the same. */
  it.each<[string, (ids: Ids) => Mutation[]]>([
    ["of a file", ({ large }) => [put(inodeKey(LOWER, large), Uint8Array.of(1, 2, 3))]],
    [
      "of what a layer lies on",
      () => [put(parentKey(ACTIVE), Uint8Array.of(1)), { remove: snapshotKey("node1", "a") }],
    ],
    ["of a tree", () => [put(treeKey("node1", "root"), Uint8Array.of(1))]],
    ["of a snapshot", () => [put(snapshotKey("node1", "a"), Uint8Array.of(1)), { remove: parentKey(ACTIVE) }]],
  ])("leaves in a repair whatever the record %s may lead to, when that cannot be read", async (_, damage) => {
    const { storage, image, ids } = await closedStore();
    await storage.keyValueStore.write(damage(ids));
    const options = optionsFor(storage, image);
    const { counts, findings } = checkStore(options);
    expect(findings.filter(({ kind }) => kind === "leftover")).toEqual([]);
    await repairStore({ counts, findings }, options);
    expect(checkStore(options).counts).toEqual(counts);
  });

  it("counts anew where a counter is wrong", async () => {
    const { storage, image } = await closedStore();
    const options = optionsFor(storage, image);
    const right = storage.keyValueStore.get(usageKey(LOWER));
    await storage.keyValueStore.write([put(usageKey(LOWER), encodeUsage({ contentBytes: 1, files: 2 }))]);
    expect(await repairStore(checkStore(options), options)).toEqual([]);
    expect(storage.keyValueStore.get(usageKey(LOWER))).toEqual(right);
    expect(checkStore(options).findings).toEqual([]);
  });

  it("repairs what is left over, and numbers, and leaves what nodes wrote", async () => {
    const { storage, image, ids } = await closedStore();
    const options = optionsFor(storage, image);
    await storage.dataFiles.open("2/999999", { make: true });
    await storage.dataFiles.open("77/1", { make: true });
    await storage.keyValueStore.write([
      put(nextIdKey(99), encodeId(5)),
      put(nextIdKey(ACTIVE), encodeId(100)),
      { remove: entryKey(ACTIVE, ids.etc, "fstab.link") },
    ]);
    const report = checkStore(options);
    expect(report.findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([
      "leftover: layer 2: data file 999999 that belongs to no file",
      "leftover: layer 119: data file 1 that belongs to no file",
      "leftover: layer 99: nothing leads to it",
      "leftover: layer 119: nothing leads to it",
      "leftover: layer 119: data file 1 of a layer that nothing leads to",
      expect.stringMatching(/^damage: the store record: its next numbers/),
      expect.stringMatching(/^damage: the root tree of node1: the next file id 100 is not above/),
      expect.stringMatching(/^damage: the root tree of node1: file \d+ counts 2 links, and should count 1/),
    ]);
    expect((await repairStore(report, options)).map(({ text }) => text)).toEqual([
      expect.stringMatching(/counts 2 links, and should count 1/),
    ]);
    expect(checkStore(options).findings).toHaveLength(1);
    const { tree } = await openTree({ storage, image });
    expect(await makeFile(tree, "/etc", "later", "")).toBeGreaterThan(ids.large);
  });
});
