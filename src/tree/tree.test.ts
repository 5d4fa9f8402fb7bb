import { describe, expect, it } from "vitest";
import { IMAGE_TIME_NS, MemoryImage } from "./memory-image.ts";
import type { Tree } from "./tree.ts";
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

describe("a tree over an image", () => {
  it("shows the image's files with their ids, attributes and contents", async () => {
    const { tree, image } = await openTree();
    expect(at(tree, "/etc/hostname")).toBe(image.idOf("/etc/hostname"));
    expect(at(tree, "/bin/perl")).toBe(image.idOf("/usr/bin/perl"));
    expect(tree.getattr(at(tree, "/usr/bin/perl"))).toMatchObject({ type: "file", linkCount: 2, sizeBytes: 6 });
    expect(textOf(tree, "/etc/hostname")).toBe("raspberrypi\n");
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release"]);
    expect(tree.readlink(tree.lookup(tree.rootId, name("bin"))!)).toBe("usr/bin");
  });

  it("keeps an image file's id when it is written, renamed and linked, and in a new program", async () => {
    const { tree, image, storage } = await openTree();
    const id = image.idOf("/etc/hostname");
    await tree.write(id, 0, Buffer.from("node1\n"), false);
    await tree.setattr(id, { sizeBytes: 6 });
    await tree.rename(at(tree, "/etc"), name("hostname"), at(tree, "/usr"), name("name"));
    await tree.link(id, at(tree, "/var"), name("other"));
    for (const one of [tree, (await openTree({ storage, image })).tree]) {
      expect(at(one, "/usr/name")).toBe(id);
      expect(at(one, "/var/other")).toBe(id);
      expect(one.lookupPath("/etc/hostname")).toBeUndefined();
      expect(one.getattr(id)).toMatchObject({ linkCount: 2, sizeBytes: 6 });
      expect(textOf(one, "/usr/name")).toBe("node1\n");
    }
  });

  it("changes one name of a hard-linked image file and thereby the other", async () => {
    const { tree, image } = await openTree();
    await tree.write(image.idOf("/usr/bin/perl"), 2, Buffer.from("ruby"), true);
    expect(textOf(tree, "/usr/bin/perl5.36")).toBe("#!ruby");
    await tree.remove(at(tree, "/usr/bin"), name("perl"));
    expect(tree.getattr(at(tree, "/usr/bin/perl5.36")).linkCount).toBe(1);
    await tree.remove(at(tree, "/usr/bin"), name("perl5.36"));
    expect(await status(() => tree.getattr(image.idOf("/usr/bin/perl")))).toBe("NFS3ERR_STALE");
  });

  it("renames a directory of the image with one entry, whatever is below it", async () => {
    const { tree, storage } = await openTree();
    const before = [...storage.keyValueStore.range(Buffer.from("L"), Buffer.from("M"))].length;
    await tree.rename(at(tree, "/"), name("usr"), at(tree, "/var"), name("system"));
    const after = [...storage.keyValueStore.range(Buffer.from("L"), Buffer.from("M"))].length;
    // Two names; three inodes: both parents and the directory itself; how many that are.
    expect(after - before).toBe(6);
    expect(textOf(tree, "/var/system/share/doc/copyright")).toBe("free");
    expect(tree.lookup(at(tree, "/var/system"), name(".."))).toBe(at(tree, "/var"));
    expect(tree.getattr(at(tree, "/var")).linkCount).toBe(3);
    expect(tree.getattr(tree.rootId).linkCount).toBe(4);
  });

  it("is not changed by what another node writes", async () => {
    const storage = new Storage();
    const image = imageOfADistribution();
    const one = await openTree({ storage, image });
    const other = await one.trees.tree({ node: "node2", kind: "root", image, imageId: "debian", generated: [] });
    await one.tree.write(image.idOf("/var/big"), 4096, Buffer.from("mine"), true);
    await one.tree.remove(at(one.tree, "/etc"), name("hostname"));
    expect(textOf(other, "/etc/hostname")).toBe("raspberrypi\n");
    expect(Buffer.from(textOf(other, "/var/big"))).toEqual(Buffer.from(Buffer.from(BIG).toString()));
    expect(other.fsid).not.toBe(one.tree.fsid);
    expect(other.treeId).not.toBe(one.tree.treeId);
  });
});

describe("writing", () => {
  it("copies up only the blocks that change", async () => {
    const { tree, image } = await openTree();
    const id = image.idOf("/var/big");
    await tree.write(id, 10_000, Buffer.from("changed"), true);
    expect(tree.usedBytes()).toBe(4096);
    const expected = Buffer.from(BIG);
    expected.write("changed", 10_000);
    const { bytes, endOfFile } = await tree.read(id, 0, 100_000);
    expect(Buffer.compare(bytes, expected)).toBe(0);
    expect(endOfFile).toBe(true);
  });

  it("stays exact, and its record small, when thousands of single bytes are written", async () => {
    const content = Uint8Array.from({ length: 12_000_000 }, (_, index) => index % 251);
    const { tree, image, storage } = await openTree({ image: new MemoryImage({ large: content }) });
    const id = image.idOf("/large");
    const expected = content.slice();
    for (let block = 0; block < 2900; block += 2) {
      expected[block * 4096 + 5] = 255;
      await tree.write(id, block * 4096 + 5, Uint8Array.of(255), false);
    }
    await tree.commit(id);
    const { bytes } = await tree.read(id, 0, content.length);
    expect(Buffer.compare(bytes, expected)).toBe(0);
    const records = [...storage.keyValueStore.range(Buffer.from("L"), Buffer.from("M"))];
    expect(Math.max(...records.map(({ value }) => value.length))).toBeLessThan(16 * 1024);
  });

  it("shows an unstable write at once, and keeps it once it is committed", async () => {
    const { tree, image, storage } = await openTree();
    const id = await tree.create(at(tree, "/var"), name("log"), { kind: "guarded" }, ROOT);
    await tree.write(id, 5000, Buffer.from("end"), false);
    expect(tree.getattr(id).sizeBytes).toBe(5003);
    const crashed = (await openTree({ storage, image })).tree;
    expect(crashed.getattr(id).sizeBytes).toBe(0);
    await tree.commit(id);
    const restarted = (await openTree({ storage, image })).tree;
    expect(textOf(restarted, "/var/log")).toBe(`${"\0".repeat(5000)}end`);
  });

  it("shows zeros where a file was cut and has grown again", async () => {
    const { tree, image } = await openTree();
    const id = image.idOf("/var/big");
    await tree.write(id, 0, new Uint8Array(20_000).fill(1), true);
    await tree.setattr(id, { sizeBytes: 100 });
    await tree.setattr(id, { sizeBytes: 30_000 });
    const { bytes } = await tree.read(id, 0, 40_000);
    expect(bytes.length).toBe(30_000);
    expect(bytes.subarray(0, 100).every((byte) => byte === 1)).toBe(true);
    expect(bytes.subarray(100).every((byte) => byte === 0)).toBe(true);
  });

  it("gives every change another time, though the clock stands still", async () => {
    const { tree } = await openTree();
    await makeFile(tree, "/etc", "one", "1");
    const first = tree.getattr(at(tree, "/etc"));
    await makeFile(tree, "/etc", "two", "2");
    const second = tree.getattr(at(tree, "/etc"));
    expect(second.mtimeNs > first.mtimeNs).toBe(true);
    expect(second.ctimeNs > first.ctimeNs).toBe(true);
  });

  it("gives a written file the time of the write, also where the image's times are still to come", async () => {
    const { tree, image, storage } = await openTree();
    storage.advance(Number(IMAGE_TIME_NS / 1_000_000n) - storage.clock.unixMs() - 60_000);
    for (const [path, contents] of [
      ["/etc/hostname", "node1\n"],
      ["/var/big", "x"],
    ] as const) {
      const id = image.idOf(path);
      await tree.write(id, 0, Buffer.from(contents), false);
      const first = tree.getattr(id);
      expect(first.ctimeNs, path).toBeLessThan(IMAGE_TIME_NS);
      await tree.write(id, 0, Buffer.from(contents), false);
      await tree.commit(id);
      const { mtimeNs, ctimeNs } = tree.getattr(id);
      expect(ctimeNs, path).toBe(mtimeNs);
      expect(ctimeNs, path).toBeGreaterThan(first.ctimeNs);
    }
  });

  it("answers the same exclusive create twice, and refuses another one", async () => {
    const { tree } = await openTree();
    const etc = at(tree, "/etc");
    const create = (verifier: number) =>
      tree.create(etc, name("lock"), { kind: "exclusive", verifier: new Uint8Array(8).fill(verifier) }, ROOT);
    expect(await create(1)).toBe(await create(1));
    expect(await status(() => create(2))).toBe("NFS3ERR_EXIST");
  });

  it.each<[string, string, (tree: Tree) => unknown]>([
    ["NFS3ERR_NOTEMPTY", "removing a directory that is not empty", (tree) => tree.rmdir(tree.rootId, name("etc"))],
    ["NFS3ERR_ISDIR", "removing a directory as a file", (tree) => tree.remove(tree.rootId, name("etc"))],
    ["NFS3ERR_NOTDIR", "removing a file as a directory", (tree) => tree.rmdir(at(tree, "/etc"), name("fstab"))],
    ["NFS3ERR_NOENT", "removing what is not there", (tree) => tree.remove(tree.rootId, name("nothing"))],
    ["NFS3ERR_EXIST", "making what is there", (tree) => tree.mkdir(tree.rootId, name("etc"), ROOT)],
    ["NFS3ERR_NOTDIR", "looking into a file", (tree) => tree.lookup(at(tree, "/etc/fstab"), name("x"))],
    ["NFS3ERR_STALE", "asking for an id that is not in use", (tree) => tree.getattr(99_999_999)],
    [
      "NFS3ERR_INVAL",
      "moving a directory into itself",
      (tree) => tree.rename(2, name("usr"), at(tree, "/usr/share/doc"), name("u")),
    ],
    [
      "NFS3ERR_ISDIR",
      "renaming a file over a directory",
      (tree) => tree.rename(at(tree, "/etc"), name("fstab"), 2, name("usr")),
    ],
    [
      "NFS3ERR_NOTDIR",
      "renaming a directory over a file",
      (tree) => tree.rename(2, name("usr"), at(tree, "/etc"), name("fstab")),
    ],
    ["NFS3ERR_NOTEMPTY", "renaming a directory over a full one", (tree) => tree.rename(2, name("usr"), 2, name("etc"))],
    ["NFS3ERR_NAMETOOLONG", "a name of 256 bytes", (tree) => tree.mkdir(2, name("x".repeat(256)), ROOT)],
    ["NFS3ERR_INVAL", "reading a device", (tree) => tree.read(at(tree, "/var/dev"), 0, 10)],
    ["NFS3ERR_PERM", "linking a directory", (tree) => tree.link(at(tree, "/usr"), 2, name("usr2"))],
    ["NFS3ERR_NOT_SYNC", "a guard with another time", (tree) => tree.setattr(at(tree, "/etc"), { mode: 0 }, 5n)],
  ])("refuses with %s: %s", async (expected, _, operation) => {
    const { tree } = await openTree();
    expect(await status(() => operation(tree))).toBe(expected);
  });
});

describe("listings", () => {
  it("go on where they stopped while names come and go, and show what stays exactly once", async () => {
    const { tree } = await openTree();
    for (let index = 0; index < 50; index += 1) await makeFile(tree, "/usr", `made${index}`, "");
    const seen: string[] = [];
    let cookie = 0;
    for (let round = 0; ; round += 1) {
      const { entries, complete } = tree.readdir(at(tree, "/usr"), cookie, 7);
      seen.push(...entries.map((entry) => entry.name));
      if (complete) break;
      cookie = entries.at(-1)!.cookie;
      await tree.remove(at(tree, "/usr"), name(`made${49 - round}`));
      await tree.rename(at(tree, "/usr"), name(`made${round}`), at(tree, "/usr"), name(`moved${round}`));
      await makeFile(tree, "/usr", `new${round}`, "");
    }
    for (const stays of ["bin", "share", ...Array.from({ length: 25 }, (_, index) => `made${index + 10}`)]) {
      expect(seen.filter((one) => one === stays)).toEqual([stays]);
    }
    expect(new Set(seen).size).toBe(seen.length);
  });

  it("keep a name in its place when another file is renamed over it", async () => {
    const { tree } = await openTree();
    await makeFile(tree, "/etc", "hostname.new", "x");
    await tree.rename(at(tree, "/etc"), name("hostname.new"), at(tree, "/etc"), name("hostname"));
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release"]);
    expect(textOf(tree, "/etc/hostname")).toBe("x");
  });
});

describe("a tree over a FAT image", () => {
  it("finds names whatever their case, those of the image and those of the node", async () => {
    const image = new MemoryImage(
      { "CONFIG.TXT": "arm_64bit=1\n", overlays: { directory: {} } },
      { caseSensitive: false },
    );
    const { tree } = await openTree({ image, kind: "boot" });
    expect(textOf(tree, "/config.txt")).toBe("arm_64bit=1\n");
    await makeFile(tree, "/overlays", "Disable-BT.dtbo", "dt");
    expect(textOf(tree, "/OVERLAYS/disable-bt.DTBO")).toBe("dt");
    expect(await status(() => tree.mkdir(tree.rootId, name("Overlays"), ROOT))).toBe("NFS3ERR_EXIST");
    await tree.rename(tree.rootId, name("config.txt"), tree.rootId, name("Config.txt"));
    expect(listing(tree, "/")).toEqual([".", "..", "Config.txt", "overlays"]);
    await tree.remove(tree.rootId, name("cOnFiG.tXt"));
    expect(listing(tree, "/")).toEqual([".", "..", "overlays"]);
  });
});

describe("a damaged image", () => {
  it("whose directories are each other's parents does not hold up a rename", async () => {
    const image = imageOfADistribution();
    const [one, other] = [image.idOf("/usr/share"), image.idOf("/usr/share/doc")];
    image.parent = (id) => (id === one ? other : one);
    const { tree } = await openTree({ image });
    await tree.mkdir(tree.rootId, name("new"), ROOT);
    expect(await status(() => tree.rename(tree.rootId, name("new"), one, name("new")))).toBe("NFS3ERR_IO");
  });
});
