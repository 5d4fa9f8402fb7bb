/** Random directory trees, as data that fast-check can shrink, and how to write them. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { patterned } from "./rich-tree.ts";

type Kind =
  | { type: "file"; pieces: { offset: number; lengthBytes: number }[] }
  | { type: "symlink"; target: Uint8Array }
  | { type: "directory" }
  | { type: "fifo" }
  | { type: "device"; letter: "b" | "c"; major: number; minor: number }
  | { type: "link"; to: number };

export interface TreeNode {
  kind: Kind;
  /** Below the directory of this number, counted around; 0 is the root. */
  parent: number;
  name: Uint8Array;
  mode: number;
  uid: number;
  gid: number;
  /** Seconds, with a fraction. */
  mtime: number;
  attributes: { name: string; value: Uint8Array }[];
}

/** Any byte but NUL and slash; fast-check shrinks towards `a`. */
const nameByte = fc.nat(252).map((index) => {
  const byte = (index + 0x61) % 254 || 254;
  return byte === 0x2f ? 255 : byte;
});
const bytesOf = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.array(nameByte, { minLength, maxLength, size: "max" }).map((bytes) => Uint8Array.from(bytes));
const fileName = fc
  .oneof({ arbitrary: bytesOf(1, 12), weight: 4 }, { arbitrary: bytesOf(200, 255), weight: 1 })
  .filter((name) => !["2e", "2e2e"].includes(Buffer.from(name).toString("hex")));

const kind: fc.Arbitrary<Kind> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant("file" as const), pieces: filePieces() }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("directory" as const) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("symlink" as const), target: symlinkTarget() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("link" as const), to: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("fifo" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("device" as const),
      letter: fc.constantFrom("b" as const, "c" as const),
      major: fc.oneof(fc.nat(255), fc.nat(4095)),
      minor: fc.oneof(fc.nat(255), fc.nat(2 ** 20 - 1)),
    }),
  },
);

function filePieces(): fc.Arbitrary<{ offset: number; lengthBytes: number }[]> {
  const offset = fc.oneof({ weight: 5, arbitrary: fc.nat(200_000) }, { weight: 1, arbitrary: fc.nat(2 ** 33) });
  return fc.array(fc.record({ offset, lengthBytes: fc.oneof(fc.nat(200), fc.nat(20_000)) }), { maxLength: 5 });
}

function symlinkTarget(): fc.Arbitrary<Uint8Array> {
  return fc.oneof(bytesOf(1, 30), bytesOf(55, 65), bytesOf(66, 300), bytesOf(4000, 4095));
}

export const treeArbitrary: fc.Arbitrary<TreeNode[]> = fc.array(
  fc.record({
    kind,
    parent: fc.nat(20),
    name: fileName,
    mode: fc.nat(0o7777),
    uid: fc.oneof(fc.nat(1000), fc.nat(2 ** 32 - 2)),
    gid: fc.oneof(fc.nat(1000), fc.nat(2 ** 32 - 2)),
    mtime: fc.double({ min: -(2 ** 31), max: 2 ** 33, noNaN: true }),
    attributes: fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^trusted\.[a-z]{1,20}$/),
        value: fc.uint8Array({ maxLength: 60 }),
      }),
      { selector: ({ name }) => name, maxLength: 4 },
    ),
  }),
  { minLength: 1, maxLength: 40, size: "max" },
);

/** Writes the tree into the empty directory `root`. Nodes whose name is taken are left out. */
export function writeTree(root: string, tree: TreeNode[]): void {
  const directories = [Buffer.from(root)];
  const files: Buffer[] = [];
  const written: { path: Buffer; node: TreeNode }[] = [];
  const taken = new Set<string>();
  for (const node of tree) {
    const parent = directories[node.parent % directories.length]!;
    const path = Buffer.concat([parent, Buffer.from("/"), node.name]);
    const { kind } = node;
    const target = kind.type === "link" ? files[kind.to % (files.length || 1)] : undefined;
    if (taken.has(path.toString("latin1")) || (kind.type === "link" && target === undefined)) continue;
    taken.add(path.toString("latin1"));
    if (target !== undefined) {
      linkSync(target, path);
      continue;
    }
    writeNode(root, path, kind);
    if (kind.type === "file") files.push(path);
    if (kind.type === "directory") directories.push(path);
    written.push({ path, node });
  }
  writeExtendedAttributes(written);
  // From the last to the first, so that a directory's time is set after its entries were made.
  for (const { path, node } of written.reverse()) {
    lchownSync(path, node.uid, node.gid);
    if (node.kind.type !== "symlink") chmodSync(path, node.mode);
    lutimesSync(path, node.mtime, node.mtime);
  }
}

function writeNode(root: string, path: Buffer, kind: Kind): void {
  if (kind.type === "directory") mkdirSync(path);
  else if (kind.type === "symlink") symlinkSync(Buffer.from(kind.target), path);
  else if (kind.type === "file") {
    const file = openSync(path, "w");
    for (const { offset, lengthBytes } of kind.pieces) {
      writeSync(file, patterned(lengthBytes, offset), 0, lengthBytes, offset);
    }
    closeSync(file);
  } else {
    // A command's arguments are text, and the name may be none.
    const plain = join(root, "..", "node");
    if (kind.type === "fifo") execFileSync("mkfifo", [plain]);
    else if (kind.type === "device") execFileSync("mknod", [plain, kind.letter, `${kind.major}`, `${kind.minor}`]);
    renameSync(plain, path);
  }
}

function writeExtendedAttributes(written: { path: Buffer; node: TreeNode }[]): void {
  const octal = (path: Buffer): string => [...path].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  const dump = written
    .filter(({ node }) => node.attributes.length > 0)
    .map(({ path, node }) => {
      const lines = node.attributes.map(({ name, value }) => `${name}=0x${Buffer.from(value).toString("hex")}`);
      return `# file: ${octal(path)}\n${lines.join("\n")}\n`;
    });
  execFileSync("setfattr", ["-h", "--restore=-"], { input: dump.join("\n") });
}
