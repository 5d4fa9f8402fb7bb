/** Short cuts of reading and listing answer as the long way does. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { writeAttributes } from "../nfs/attributes.ts";
import { HANDLE_BYTES } from "../nfs/handle.ts";
import { createBench } from "../nfs/test-client.ts";
import { XdrWriter } from "../nfs/xdr.ts";
import { MemoryImage } from "./memory-image.ts";
import type { Tree } from "./tree.ts";
import { at, makeFile, name, openTree, ROOT } from "./tree-fixture.ts";

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

describe("entries in a listing", () => {
  /** A directory of so many files, beside another one like it. */
  const imageOf = (count: number) => {
    const files = Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`file${index}`.padEnd(5 + (index % 7)), "x"]),
    );
    return new MemoryImage({ many: { directory: files }, more: { directory: files } });
  };

  /** Which way a piece of the directory was written. Both ways must give the same bytes. */
  function waysOf(tree: Tree, path: string, from: number, count: number): "short" | "long" {
    const directory = at(tree, path);
    const listed = tree.readdir(directory, 2 + from, count).entries;
    const [short, long] = [new XdrWriter().u32(0), new XdrWriter().u32(0)];
    for (const { id, name, cookie } of listed) {
      long.bool(true).hyper(id).name(name).hyper(cookie).bool(true);
      writeAttributes(long, tree.fsid, tree.getattr(id));
      long.bool(true).u32(HANDLE_BYTES).zeros(HANDLE_BYTES);
    }
    if (!tree.writeEntries(directory, listed, short)) {
      expect(short.lengthBytes).toBe(4);
      return "long";
    }
    expect(Buffer.from(short.finish()).toString("hex")).toBe(Buffer.from(long.finish()).toString("hex"));
    return "short";
  }

  it("are copied, from wherever a piece begins, while no layer above the image has changed them", async () => {
    const { tree } = await openTree({ image: imageOf(20) });
    const pieces: [number, number][] = [
      [0, 20],
      [0, 1],
      [5, 10],
      [19, 1],
    ];
    const ways = (path: string) => pieces.map(([from, count]) => waysOf(tree, path, from, count));
    for (const path of ["/many", "/more", "/many"]) expect(ways(path)).toEqual(["short", "short", "short", "short"]);
    const [, seventh] = tree.readdir(at(tree, "/many"), 8, 2).entries;
    await tree.setattr(seventh!.id, { mode: 0o600 });
    expect(ways("/many")).toEqual(["long", "short", "long", "short"]);
    await makeFile(tree, "/many", "made", "");
    expect(ways("/many")).toEqual(["long", "long", "long", "long"]);
    await tree.remove(at(tree, "/more"), tree.readdir(at(tree, "/more"), 21, 1).entries[0]!.name);
    expect(ways("/more").slice(0, 3)).toEqual(["long", "long", "long"]);
  });

  it("are made one by one in very large directories, and where an inode is damaged", async () => {
    const [fits, larger] = [4096, 4097].map((count) => openTree({ image: imageOf(count) }));
    expect(waysOf((await fits!).tree, "/many", 4000, 96)).toBe("short");
    expect(waysOf((await larger!).tree, "/many", 4000, 96)).toBe("long");
    const image = imageOf(20);
    const damaged = image.entries(image.entries(image.rootId)[0]!.id)[7]!.id;
    const attributes = image.attributes.bind(image);
    image.attributes = (id: number) => {
      if (id === damaged) throw new DecodeError("ext4", `inode ${id}`, "it is damaged");
      return attributes(id);
    };
    const { tree } = await openTree({ image });
    expect(waysOf(tree, "/many", 10, 5)).toBe("long");
    expect(waysOf(tree, "/more", 10, 5)).toBe("short");
  });

  it("are not copied when they were listed in another directory", async () => {
    const { tree } = await openTree({ image: imageOf(20) });
    const { entries } = tree.readdir(at(tree, "/many"), 2, 5);
    for (const listed of [entries, []]) {
      expect(tree.writeEntries(at(tree, "/more"), listed, new XdrWriter())).toBe(false);
    }
    const dots = tree.readdir(at(tree, "/many"), 0, 5).entries;
    expect(tree.writeEntries(at(tree, "/many"), dots, new XdrWriter())).toBe(false);
  });

  it("give the same answer to READDIRPLUS, handles included, whatever piece is asked for", async () => {
    const generated = [{ kind: "file", path: "/more/made/motd", content: Buffer.from("hi"), ...ROOT } as const];
    const { tree } = await openTree({ image: imageOf(60), generated });
    await tree.setattr(tree.readdir(at(tree, "/many"), 30, 1).entries[0]!.id, { mode: 0o600 });
    const bench = createBench({ volume: tree });
    const handles = ["many", "more"].map((path) => {
      const { body } = bench.nfs("LOOKUP", (args) => args.opaque(bench.root).name(name(path)));
      return body.opaque(64, "handle").slice();
    });
    const copying = vi.spyOn(tree, "writeEntries");
    fc.assert(
      fc.property(
        fc.constantFrom(bench.root, ...handles),
        fc.nat({ max: 70 }),
        fc.integer({ min: 500, max: 20_000 }),
        fc.nat({ max: 3000 }),
        (directory, cookie, maxBytes, namesBytesMax) => {
          const answer = () => {
            const args = (args: XdrWriter) =>
              args.opaque(directory).hyper(cookie).u64(0n).u32(namesBytesMax).u32(maxBytes);
            const { status, body } = bench.nfs("READDIRPLUS", args);
            return status + Buffer.from(body.bytes(body.remainingBytes, "all")).toString("hex");
          };
          const quick = answer();
          copying.mockReturnValueOnce(false);
          expect(quick).toBe(answer());
        },
      ),
    );
    expect(copying.mock.results.filter(({ value }) => value === true).length).toBeGreaterThan(10);
  });
});
