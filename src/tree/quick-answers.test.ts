/** Short cuts of reading and listing answer as the long way does. */
import { describe, expect, it } from "vitest";
import { writeAttributes } from "../nfs/attributes.ts";
import { XdrWriter } from "../nfs/xdr.ts";
import type { Tree } from "./tree.ts";
import { at, name, openTree, ROOT } from "./tree-fixture.ts";

/** Which way a file's `fattr3` was written. Both ways must give the same bytes. */
function wayOf(tree: Tree, id: number): "short" | "long" {
  const [short, long] = [new XdrWriter(), new XdrWriter()];
  writeAttributes(long, tree.fsid, tree.getattr(id));
  if (!tree.writeAttributes(id, short)) {
    expect(short.lengthBytes).toBe(0);
    return "long";
  }
  expect(Buffer.from(short.finish()).toString("hex")).toBe(Buffer.from(long.finish()).toString("hex"));
  return "short";
}

describe("attributes in a listing", () => {
  it("are copied for files of the image, and made for those of the layers above", async () => {
    const generated = [{ kind: "file", path: "/etc/motd", content: Buffer.from("hi"), ...ROOT } as const];
    const { tree } = await openTree({ generated });
    const ways = () => ["/", "/etc/os-release", "/etc/fstab", "/etc/motd"].map((path) => wayOf(tree, at(tree, path)));
    expect(ways()).toEqual(["short", "short", "short", "long"]);
    expect(ways()).toEqual(["short", "short", "short", "long"]);
    await tree.setattr(at(tree, "/etc/fstab"), { mode: 0o600 });
    await tree.write(at(tree, "/etc/os-release"), 0, Buffer.from("X"), false);
    expect(ways()).toEqual(["short", "long", "long", "long"]);
  });

  it("are none for a file that is gone, or never was", async () => {
    const { tree } = await openTree();
    const id = at(tree, "/etc/fstab");
    expect(wayOf(tree, id)).toBe("short");
    await tree.remove(at(tree, "/etc"), name("fstab"));
    for (const gone of [id, 0, 2 ** 31]) expect(tree.writeAttributes(gone, new XdrWriter())).toBe(false);
  });
});

describe("reads answered at once", () => {
  const paths = ["/etc/os-release", "/etc/fstab"];

  it("keep their bytes, whatever is read meanwhile, until their memory is given back", async () => {
    const { tree } = await openTree();
    const [first, second] = await Promise.all(paths.map((path) => tree.read(at(tree, path), 0, 1000)));
    expect([first, second].map((answer) => Buffer.from(answer!.bytes).toString())).toEqual([
      "ID=debian\n",
      "/dev/mmcblk0p2 / ext4\n",
    ]);
    second?.release?.();
    const third = await tree.read(at(tree, paths[0]!), 3, 1000);
    expect(third.bytes.buffer).toBe(second?.bytes.buffer);
    expect(Buffer.from(third.bytes).toString()).toBe("debian\n");
    expect(Buffer.from(first!.bytes).toString()).toBe("ID=debian\n");
  });
});
