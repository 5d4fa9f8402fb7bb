import { describe, expect, it } from "vitest";
import { MemoryImage } from "./memory-image.ts";
import type { PlacedFile } from "./placed-file.ts";
import {
  at,
  BIG,
  imageOfADistribution,
  layGenerated,
  listing,
  makeFile,
  name,
  openTree,
  Storage,
  status,
  textOf,
} from "./tree-fixture.ts";

function file(path: string, content: string, mode = 0o644): PlacedFile {
  return { kind: "file", path, content: Buffer.from(content), mode, uid: 0, gid: 0 };
}

function symlink(path: string, target: string): PlacedFile {
  return { kind: "symlink", path, target: name(target) };
}

function directory(path: string): PlacedFile {
  return { kind: "directory", path, mode: 0o700, uid: 5, gid: 6 };
}

const FIRST_NODE_ID = 65536;

describe("a generated layer", () => {
  it("leaves a file of the image that the node changed in part as it was, when it comes to its path", async () => {
    const { tree, trees, image } = await openTree();
    const [id, small] = [image.idOf("/var/big"), image.idOf("/etc/fstab")];
    await tree.write(id, 0, Buffer.from("mine"), true);
    await tree.setattr(small, { mode: 0o600 });
    await layGenerated(trees, image, [file("/var/big", "generated"), file("/etc/fstab", "generated")]);
    const expected = new Uint8Array(BIG);
    expected.set(Buffer.from("mine"));
    expect(Buffer.compare((await tree.read(id, 0, BIG.length)).bytes, expected)).toBe(0);
    expect(textOf(tree, "/etc/fstab")).toBe("/dev/mmcblk0p2 / ext4\n");
    expect(tree.overriddenGeneratedPaths()).toEqual(["/var/big", "/etc/fstab"]);
    await tree.write(id, BIG.length - 1, Buffer.from("!"), true);
    expected.set(Buffer.from("!"), BIG.length - 1);
    expect(Buffer.compare((await tree.read(id, 0, BIG.length)).bytes, expected)).toBe(0);
  });

  it("stands in for a file of the image, at its id and its place in the listing", async () => {
    const { tree, image } = await openTree({ generated: [file("/etc/hostname", "node1\n", 0o600)] });
    expect(at(tree, "/etc/hostname")).toBe(image.idOf("/etc/hostname"));
    expect(tree.getattr(at(tree, "/etc/hostname"))).toMatchObject({ mode: 0o600, sizeBytes: 6, linkCount: 1 });
    expect(textOf(tree, "/etc/hostname")).toBe("node1\n");
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release"]);
  });

  it("leaves the node what it renamed or linked, when the path it came from is removed", async () => {
    const { tree, trees, image } = await openTree();
    const etc = at(tree, "/etc");
    await tree.rename(etc, name("fstab"), etc, name("fstab.old"));
    await tree.link(at(tree, "/etc/hostname"), etc, name("hostname.old"));
    const removed = ["/etc/fstab", "/etc/hostname"].map((path): PlacedFile => ({ kind: "removed", path }));
    await layGenerated(trees, image, removed);
    expect(listing(tree, "/etc")).toEqual([".", "..", "os-release", "fstab.old", "hostname.old"]);
    expect(textOf(tree, "/etc/fstab.old")).toContain("ext4");
    expect(textOf(tree, "/etc/hostname.old")).toBe("raspberrypi\n");
    await tree.write(at(tree, "/etc/fstab.old"), 0, Buffer.from("#"), true);
    expect(textOf(tree, "/etc/fstab.old").startsWith("#")).toBe(true);
    for (const old of ["fstab.old", "hostname.old"]) await tree.remove(etc, name(old));
    expect(listing(tree, "/etc")).toEqual([".", "..", "os-release"]);
  });

  it("adds files and their directories, with ids between those of the image and those of the node", async () => {
    const { tree, image } = await openTree({ generated: [file("/etc/systemd/system/up.service", "[Unit]\n")] });
    const made = await makeFile(tree, "/etc", "mine", "");
    const added = [
      at(tree, "/etc/systemd"),
      at(tree, "/etc/systemd/system"),
      at(tree, "/etc/systemd/system/up.service"),
    ];
    expect(new Set(added).size).toBe(3);
    for (const id of added) {
      expect(id).toBeGreaterThan(image.lastId);
      expect(id).toBeLessThanOrEqual(image.lastId + FIRST_NODE_ID);
    }
    expect(made).toBe(image.lastId + 1 + FIRST_NODE_ID);
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release", "systemd", "mine"]);
    expect(tree.getattr(at(tree, "/etc")).linkCount).toBe(3);
    expect(tree.lookup(at(tree, "/etc/systemd/system"), name(".."))).toBe(at(tree, "/etc/systemd"));
  });

  it("follows symlinked directories of the image but not the last component", async () => {
    const { tree } = await openTree({ generated: [file("/bin/tool", "x"), file("/bin", "not a link")] });
    expect(textOf(tree, "/usr/bin/tool")).toBe("x");
    expect(textOf(tree, "/bin")).toBe("not a link");
  });

  it("leaves the other names of a hard-linked file alone", async () => {
    const { tree, image } = await openTree({ generated: [file("/usr/bin/perl", "wrapper")] });
    expect(textOf(tree, "/usr/bin/perl")).toBe("wrapper");
    expect(textOf(tree, "/usr/bin/perl5.36")).toBe("#!perl");
    expect(tree.getattr(at(tree, "/usr/bin/perl5.36"))).toMatchObject({
      id: image.idOf("/usr/bin/perl"),
      linkCount: 1,
    });
    expect(at(tree, "/usr/bin/perl")).not.toBe(image.idOf("/usr/bin/perl"));
  });

  it("removes paths, replaces directories by files and files by directories", async () => {
    const generated: PlacedFile[] = [
      { kind: "removed", path: "/etc/fstab" },
      { kind: "removed", path: "/usr/share" },
      { kind: "removed", path: "/not/there" },
      symlink("/usr/bin", "elsewhere"),
      directory("/var/big"),
    ];
    const { tree, image } = await openTree({ generated });
    expect(tree.lookupPath("/etc/fstab")).toBeUndefined();
    expect(await status(() => tree.getattr(image.idOf("/etc/fstab")))).toBe("NFS3ERR_STALE");
    expect(tree.getattr(at(tree, "/usr")).linkCount).toBe(2);
    expect(tree.getattr(tree.lookup(at(tree, "/usr"), name("bin"))!)).toMatchObject({ type: "symlink", sizeBytes: 9 });
    expect(tree.getattr(at(tree, "/var/big"))).toMatchObject({ type: "directory", mode: 0o700, uid: 5, gid: 6 });
    expect(listing(tree, "/var/big")).toEqual([".", ".."]);
    expect(tree.getattr(at(tree, "/var")).linkCount).toBe(3);
  });

  it("gives a directory of the image other attributes and leaves its entries", async () => {
    const { tree, image } = await openTree({ generated: [directory("/etc")] });
    expect(tree.getattr(image.idOf("/etc"))).toMatchObject({ mode: 0o700, uid: 5, gid: 6 });
    expect(listing(tree, "/etc")).toEqual([".", "..", "hostname", "fstab", "os-release"]);
  });

  it("lets the last of two files at one path stand", async () => {
    const { tree } = await openTree({
      generated: [file("/etc/new", "1"), file("/etc/new", "two"), symlink("/x", "a"), file("/x", "b")],
    });
    expect(textOf(tree, "/etc/new")).toBe("two");
    expect(textOf(tree, "/x")).toBe("b");
    expect(listing(tree, "/etc").filter((one) => one === "new")).toEqual(["new"]);
  });

  it("finds names of a FAT image whatever their case", async () => {
    const image = new MemoryImage({ "CONFIG.TXT": "a", Overlays: { directory: {} } }, { caseSensitive: false });
    const { tree } = await openTree({
      image,
      kind: "boot",
      generated: [file("/config.txt", "new"), file("/overlays/x", "y")],
    });
    expect(listing(tree, "/")).toEqual([".", "..", "CONFIG.TXT", "Overlays"]);
    expect(textOf(tree, "/Config.txt")).toBe("new");
    expect(textOf(tree, "/OVERLAYS/X")).toBe("y");
  });

  it("says which path leads into a loop of symlinks", async () => {
    const image = new MemoryImage({ a: { symlink: "b" }, b: { symlink: "a" } });
    await expect(openTree({ image, generated: [file("/a/x", "")] })).rejects.toThrow('Cannot place "/a/x"');
  });
});

describe("ids and times of generated files", () => {
  it("are the same after a restart, whatever the order of the files, and for another node", async () => {
    const storage = new Storage();
    const image = imageOfADistribution();
    const one = file("/etc/one", "1");
    const two = file("/etc/two", "2");
    const before = (await openTree({ storage, image, generated: [one, two] })).tree;
    storage.advance(1000);
    const after = (await openTree({ storage, image, generated: [two, one] })).tree;
    const other = (await openTree({ storage, image, node: "node2", generated: [two] })).tree;
    for (const path of ["/etc/one", "/etc/two"])
      expect(after.getattr(at(after, path))).toEqual(before.getattr(at(before, path)));
    expect(at(other, "/etc/two")).toBe(at(before, "/etc/two"));
  });

  it("change in time, and not in id, when the content does", async () => {
    const storage = new Storage();
    const before = (await openTree({ storage, generated: [file("/etc/one", "1"), file("/etc/two", "2")] })).tree;
    storage.advance(1000);
    const after = (await openTree({ storage, generated: [file("/etc/one", "other"), file("/etc/two", "2")] })).tree;
    const [was, is] = [before, after].map((tree) => tree.getattr(at(tree, "/etc/one")));
    expect(is).toMatchObject({ id: was!.id, sizeBytes: 5 });
    expect(is!.mtimeNs - was!.mtimeNs).toBe(1_000_000_000n);
    expect(is!.ctimeNs).toBe(is!.mtimeNs);
    expect(after.getattr(at(after, "/etc/two"))).toEqual(before.getattr(at(before, "/etc/two")));
  });
});

describe("a node's changes to generated files", () => {
  it("win over what is generated later, and are told", async () => {
    const storage = new Storage();
    const files = (content: string) => [
      file("/etc/hostname", content),
      file("/etc/motd", content),
      file("/etc/hosts", content),
    ];
    const { tree, trees, image } = await openTree({ storage, generated: files("generated") });
    await tree.write(at(tree, "/etc/hostname"), 0, Buffer.from("MINE"), true);
    await tree.remove(at(tree, "/etc"), name("motd"));
    expect(tree.overriddenGeneratedPaths()).toEqual(["/etc/hostname", "/etc/motd"]);
    await layGenerated(trees, image, files("another"));
    expect(textOf(tree, "/etc/hostname")).toBe("MINErated");
    expect(tree.lookupPath("/etc/motd")).toBeUndefined();
    expect(textOf(tree, "/etc/hosts")).toBe("another");
    expect(tree.overriddenGeneratedPaths()).toEqual(["/etc/hostname", "/etc/motd"]);
  });

  it("stay where they are, with what is beside them, when nothing is generated there any more", async () => {
    const { tree, trees, image } = await openTree({
      generated: [file("/opt/app/conf", "generated"), file("/opt/app/other", "")],
    });
    const id = at(tree, "/opt/app/conf");
    await tree.setattr(id, { mode: 0o600 });
    await makeFile(tree, "/opt/app", "state", "mine");
    await layGenerated(trees, image, []);
    expect(at(tree, "/opt/app/conf")).toBe(id);
    expect(textOf(tree, "/opt/app/conf")).toBe("generated");
    expect(listing(tree, "/opt/app")).toEqual([".", "..", "conf", "state"]);
    expect(tree.getattr(at(tree, "/opt")).linkCount).toBe(3);
  });

  it("do not survive from unstable writes that nobody committed", async () => {
    const storage = new Storage();
    const generated = [file("/etc/big", "x".repeat(10_000))];
    const { tree } = await openTree({ storage, generated });
    await tree.write(at(tree, "/etc/big"), 5000, Buffer.from("unstable"), false);
    expect(textOf(tree, "/etc/big").slice(4999, 5009)).toBe("xunstablex");
    const crashed = (await openTree({ storage, generated })).tree;
    expect(textOf(crashed, "/etc/big")).toBe("x".repeat(10_000));
  });
});
