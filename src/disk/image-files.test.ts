import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { type FileName, fileNameFromText } from "../bytes/file-name.ts";
import type { ImageFiles } from "../cluster/generated-file.ts";
import type { FileSystemImage, FileType, InodeAttributes } from "./file-system-image.ts";
import { imageFiles, resolvePath } from "./image-files.ts";

type Node = string | { symlink: string } | { [name: string]: Node };

/** A file system image made of plain objects: strings are files, `{ symlink }` is one, the rest directories. */
function imageOf(tree: { [name: string]: Node }): FileSystemImage {
  const nodes: { node: Node; parent: number }[] = [];
  const idOf = new Map<Node, number>();
  const add = (node: Node, parent: number): number => {
    const id = nodes.push({ node, parent });
    idOf.set(node, id);
    return id;
  };
  const children = new Map<number, Map<string, number>>();
  const walk = (node: Node, parent: number): number => {
    const id = add(node, parent);
    if (typeof node !== "string" && !isSymlink(node)) {
      children.set(id, new Map());
      for (const [name, child] of Object.entries(node)) {
        children.get(id)?.set(fileNameFromText(name), walk(child, id));
      }
    }
    return id;
  };
  const isSymlink = (node: Node): node is { symlink: string } => typeof node === "object" && "symlink" in node;
  walk(tree, 1);
  const nodeAt = (id: number) => nodes[id - 1]?.node;
  const typeAt = (node: Node): FileType =>
    typeof node === "string" ? "file" : isSymlink(node) ? "symlink" : "directory";
  return {
    kind: "memory",
    label: "",
    uuid: "",
    rootId: 1,
    lastId: nodes.length,
    sizeBytes: 0,
    freeBytes: 0,
    caseSensitive: true,
    attributes(id) {
      const node = nodeAt(id);
      if (node === undefined) return undefined;
      const sizeBytes = typeof node === "string" ? Buffer.byteLength(node) : 0;
      return { type: typeAt(node), sizeBytes } as InodeAttributes;
    },
    entries: (id) => [...(children.get(id) ?? [])].map(([name, child]) => ({ name: name as FileName, id: child })),
    lookup: (id, name) => children.get(id)?.get(name),
    parent: (id) => nodes[id - 1]?.parent ?? 1,
    symlinkTarget: (id) => fileNameFromText((nodeAt(id) as { symlink: string }).symlink),
    extendedAttributes: () => new Map(),
    readFileSync(id, target, offset) {
      const content = Buffer.from(nodeAt(id) as string).subarray(offset, offset + target.length);
      target.set(content);
      return content.length;
    },
    readFileNow: () => undefined,
    readFile: () => Promise.reject(new Error("not used")),
    usedIds: () => nodes.map((_, index) => index + 1),
    close() {},
  };
}

const image = imageOf({
  etc: {
    hostname: "raspberrypi\n",
    "os-release": { symlink: "../usr/lib/os-release" },
    alternatives: { editor: { symlink: "/usr/bin/nano" } },
  },
  lib: { symlink: "usr/lib" },
  usr: { lib: { "os-release": "ID=debian\n", modules: { "6.1.0-50-arm64": {} } }, bin: { nano: "elf" } },
  loop: { symlink: "/loop2" },
  loop2: { symlink: "loop" },
  up: { symlink: "../../../etc" },
  "größe.txt": "12",
});
const files: ImageFiles = imageFiles(image);
const textOf = (path: string) => {
  const content = files.readFile(path);
  return content && Buffer.from(content).toString();
};

describe("imageFiles()", () => {
  it.each([
    ["a plain path", "/etc/hostname", "raspberrypi\n"],
    ["no leading slash, doubled and dotted", "etc//./hostname", "raspberrypi\n"],
    ["a relative symlink", "/etc/os-release", "ID=debian\n"],
    ["an absolute symlink, from the image's root", "/etc/alternatives/editor", "elf"],
    ["a symlinked directory", "/lib/os-release", "ID=debian\n"],
    ["dots above the root", "/up/../../etc/hostname", "raspberrypi\n"],
    ["a name that is not ASCII", "/größe.txt", "12"],
    ["a directory", "/etc", undefined],
    ["a missing file", "/etc/missing", undefined],
    ["a file used as a directory", "/etc/hostname/x", undefined],
    ["a symlink loop", "/loop", undefined],
  ])("reads through %s", (_title, path, expected) => {
    expect(textOf(path)).toBe(expected);
  });

  it("lists directories, also through symlinks", () => {
    expect(files.list("/lib/modules")).toEqual(["6.1.0-50-arm64"]);
    expect(files.list("/")).toContain("größe.txt");
    expect(files.list("/etc/hostname")).toEqual([]);
    expect(files.list("/missing")).toEqual([]);
  });

  it("measures the plain files in whole pages, and counts files of all kinds", () => {
    // hostname, os-release, nano and größe.txt: four of fewer bytes than a page.
    expect(files.measure(4096)).toEqual({ sizeBytes: 4 * 4096, inodes: 18 });
    expect(files.measure(4).sizeBytes).toBe(12 + 12 + 4 + 4);
  });

  it("tells directories from files and dangling links", () => {
    expect(files.isDirectory("/lib")).toBe(true);
    expect(files.isDirectory("/etc/hostname")).toBe(false);
    expect(files.exists("/etc/hostname")).toBe(true);
    expect(files.exists("/loop")).toBe(false);
  });

  it("refuses a file larger than the caller wants", () => {
    expect(files.readFile("/etc/hostname", 12)).toHaveLength(12);
    expect(() => files.readFile("/etc/hostname", 11)).toThrow(
      new DecodeError("image file", "/etc/hostname", "it has 12 bytes, and at most 11 were expected"),
    );
  });
});

describe("resolvePath()", () => {
  it("leaves the last symlink alone when asked, but follows those before it", () => {
    const link = resolvePath(image, "/etc/os-release", { followLast: false });
    expect(image.attributes(link ?? 0)?.type).toBe("symlink");
    expect(resolvePath(image, "/lib/os-release", { followLast: false })).toBe(
      resolvePath(image, "/usr/lib/os-release"),
    );
    expect(resolvePath(image, "/loop", { followLast: false })).toBeDefined();
  });

  it("follows exactly forty symlinks", () => {
    const chain = (links: number) =>
      imageOf({
        ...Object.fromEntries(Array.from({ length: links }, (_, i) => [`l${i}`, { symlink: `l${i + 1}` }])),
        [`l${links}`]: "end",
      });
    expect(resolvePath(chain(40), "/l0")).toBeDefined();
    expect(resolvePath(chain(41), "/l0")).toBeUndefined();
  });
});
