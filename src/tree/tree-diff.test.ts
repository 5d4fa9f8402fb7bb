import { describe, expect, it } from "vitest";
import type { MemoryImage } from "./memory-image.ts";
import type { TreeChange } from "./tree-diff.ts";
import { at, BIG, makeFile, name, openTree, ROOT } from "./tree-fixture.ts";
import type { TreeStore } from "./tree-store.ts";

const GENERATED = [
  { kind: "file", path: "/etc/hostname", content: Buffer.from("node1\n"), ...ROOT } as const,
  { kind: "file", path: "/etc/motd", content: Buffer.from("hello\n"), ...ROOT } as const,
];

async function openedTree() {
  return openTree({ generated: GENERATED });
}

async function diffOf(trees: TreeStore, image: MemoryImage): Promise<TreeChange[]> {
  const options = { node: "node1", kind: "root", imageId: "debian", image, generated: GENERATED } as const;
  const description = await trees.catalog.tree(options);
  const changes = [...trees.catalog.diff(description, image)].filter((change) => change !== undefined);
  return changes.sort((one, other) => (one.path < other.path ? -1 : 1));
}

describe("the difference of a tree to its image", () => {
  it("is nothing before the node has written, and when it made and removed a file", async () => {
    const { tree, trees, image } = await openedTree();
    expect(await diffOf(trees, image)).toEqual([]);
    await makeFile(tree, "/etc", "temporary", "x");
    await tree.remove(at(tree, "/etc"), name("temporary"));
    await tree.setattr(at(tree, "/etc/fstab"), { mode: 0o600 });
    await tree.setattr(at(tree, "/etc/fstab"), { mode: 0o644 });
    expect(await diffOf(trees, image)).toEqual([]);
  });

  it("tells files that were added, with their sizes, and everything in a new directory", async () => {
    const { tree, trees, image } = await openedTree();
    const directory = await tree.mkdir(at(tree, "/var"), name("lib"), ROOT);
    await makeFile(tree, "/var/lib", "data", "x".repeat(10_000));
    await tree.symlink(directory, name("link"), name("data"), ROOT);
    expect(await diffOf(trees, image)).toEqual([
      { kind: "added", path: "/var/lib", type: "directory", sizeBytes: 0 },
      { kind: "added", path: "/var/lib/data", type: "file", sizeBytes: 10_000 },
      { kind: "added", path: "/var/lib/link", type: "symlink", sizeBytes: 0 },
    ]);
  });

  it("tells what of a file was changed: content, attributes or times, of the image and of generated files", async () => {
    const { tree, trees, image } = await openedTree();
    await tree.write(at(tree, "/var/big"), 5000, Buffer.from("new"), true);
    await tree.write(at(tree, "/etc/os-release"), 0, Buffer.from("ID=debian\n"), true);
    await tree.setattr(at(tree, "/etc/fstab"), { mode: 0o600 });
    await tree.setattr(at(tree, "/usr"), { uid: 7 });
    await tree.write(at(tree, "/etc/hostname"), 0, Buffer.from("mine!\n"), true);
    await tree.setattr(at(tree, "/etc/motd"), { mode: 0o600 });
    expect(await diffOf(trees, image)).toEqual([
      { kind: "changed", path: "/etc/fstab", type: "file", sizeBytes: 22, what: ["attributes"] },
      { kind: "changed", path: "/etc/hostname", type: "file", sizeBytes: 6, what: ["content"] },
      { kind: "changed", path: "/etc/motd", type: "file", sizeBytes: 6, what: ["attributes"] },
      { kind: "changed", path: "/etc/os-release", type: "file", sizeBytes: 10, what: ["times"] },
      { kind: "changed", path: "/usr", type: "directory", sizeBytes: 0, what: ["attributes"] },
      { kind: "changed", path: "/var/big", type: "file", sizeBytes: BIG.length, what: ["content"] },
    ]);
  });

  it("tells removed files, those replaced by new ones, and everything in a removed directory", async () => {
    const { tree, trees, image } = await openedTree();
    await tree.remove(at(tree, "/var"), name("big"));
    await makeFile(tree, "/etc", "fstab.new", "nothing\n");
    await tree.rename(at(tree, "/etc"), name("fstab.new"), at(tree, "/etc"), name("fstab"));
    await tree.remove(at(tree, "/usr/share/doc"), name("copyright"));
    await tree.rmdir(at(tree, "/usr/share"), name("doc"));
    await tree.remove(at(tree, "/etc"), name("os-release"));
    await tree.mkdir(at(tree, "/etc"), name("os-release"), ROOT);
    expect(await diffOf(trees, image)).toEqual([
      { kind: "changed", path: "/etc/fstab", type: "file", sizeBytes: 8, what: ["content"] },
      { kind: "changed", path: "/etc/os-release", type: "directory", sizeBytes: 0, what: ["type"] },
      { kind: "removed", path: "/usr/share/doc", type: "directory", sizeBytes: 0 },
      { kind: "removed", path: "/usr/share/doc/copyright", type: "file", sizeBytes: 4 },
      { kind: "removed", path: "/var/big", type: "file", sizeBytes: BIG.length },
    ]);
  });

  it("tells a renamed directory once, with what changed below it, and hard links by their names", async () => {
    const { tree, trees, image } = await openedTree();
    await tree.rename(tree.rootId, name("usr"), at(tree, "/var"), name("system"));
    await tree.write(at(tree, "/var/system/share/doc/copyright"), 0, Buffer.from("mine"), true);
    await tree.link(at(tree, "/etc/fstab"), at(tree, "/etc"), name("fstab.link"));
    await tree.remove(at(tree, "/var/system/bin"), name("perl5.36"));
    expect(await diffOf(trees, image)).toEqual([
      { kind: "added", path: "/etc/fstab.link", type: "file", sizeBytes: 22 },
      { kind: "renamed", path: "/var/system", from: "/usr", type: "directory", sizeBytes: 0, what: [] },
      { kind: "removed", path: "/var/system/bin/perl5.36", type: "file", sizeBytes: 6 },
      {
        kind: "changed",
        path: "/var/system/share/doc/copyright",
        type: "file",
        sizeBytes: 4,
        what: ["content"],
      },
    ]);
  });

  it("is against the image also when snapshots lie between", async () => {
    const { tree, trees, image } = await openedTree();
    await makeFile(tree, "/etc", "one", "1");
    await tree.write(at(tree, "/var/big"), 0, Buffer.from("first"), true);
    await trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", "a"));
    await tree.rename(at(tree, "/etc"), name("one"), at(tree, "/var"), name("two"));
    await tree.setattr(at(tree, "/var/big"), { mode: 0o600 });
    expect(await diffOf(trees, image)).toEqual([
      {
        kind: "changed",
        path: "/var/big",
        type: "file",
        sizeBytes: BIG.length,
        what: ["content", "attributes"],
      },
      { kind: "added", path: "/var/two", type: "file", sizeBytes: 1 },
    ]);
  });
});
