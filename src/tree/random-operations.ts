/** Random images and operations for the tests of this folder, on any volume. */
import fc from "fast-check";
import { type FileName, fileNameFromText } from "../bytes/file-name.ts";
import type { Volume } from "../nfs/volume.ts";
import type { ImageNode } from "./memory-image.ts";
import type { PlacedFile } from "./placed-file.ts";

export const NAMES = ["a", "b", "c"] as const;
const ATTRIBUTES = { mode: 0o644, uid: 1, gid: 2 };
const SIZE_MAX = 20_000;

export type Operation =
  | { kind: "write"; path: string; offset: number; bytes: Uint8Array; stable: boolean }
  | { kind: "resize"; path: string; sizeBytes: number }
  | { kind: "chmod"; path: string; mode: number }
  | { kind: "commit"; path: string }
  | { kind: "create" | "recreate" | "mkdir" | "symlink" | "mknod" | "remove" | "rmdir"; path: string }
  | { kind: "link" | "rename"; path: string; to: string }
  | { kind: "restart" };

export const path = fc
  .integer({ min: 0, max: 5 })
  .map((number) => [1, 1, 1, 2, 2, 3][number]!)
  .chain((depth) => fc.array(fc.constantFrom(...NAMES), { minLength: depth, maxLength: depth }))
  .map((names) => `/${names.join("/")}`);
const offset = fc.oneof(fc.nat(SIZE_MAX), fc.constantFrom(0, 4095, 4096, 8192));
export const content = fc
  .tuple(fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 30 })), fc.integer({ min: 1, max: 255 }))
  .map(([countBytes, byte]) => new Uint8Array(countBytes).fill(byte));

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("write" as const), path, offset, bytes: content, stable: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("resize" as const), path, sizeBytes: offset }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("chmod" as const), path, mode: fc.nat(0o7777) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("commit" as const), path }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom("create", "recreate", "mkdir", "symlink", "mknod", "remove", "rmdir"),
      path,
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom("link", "rename"), path, to: path }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
);

const imageNode: fc.Arbitrary<ImageNode> = fc.letrec<{ node: ImageNode; directory: ImageNode }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { arbitrary: content, weight: 4 },
    { arbitrary: fc.constant({ symlink: "target" }), weight: 1 },
    { arbitrary: tie("directory"), weight: 3 },
  ),
  directory: fc.dictionary(fc.constantFrom(...NAMES), tie("node"), { maxKeys: 3 }).map((directory) => ({ directory })),
})).node;

export const placedFile: fc.Arbitrary<PlacedFile> = fc.oneof(
  fc.record({ kind: fc.constant("file"), path, content, mode: fc.constant(0o600), uid: fc.nat(9), gid: fc.nat(9) }),
  fc.record({ kind: fc.constant("symlink"), path, target: fc.constant("generated" as FileName) }),
  fc.record({ kind: fc.constant("directory"), path, mode: fc.constant(0o700), uid: fc.nat(9), gid: fc.nat(9) }),
  fc.record({ kind: fc.constant("removed"), path }),
);

export const imageRoot = fc
  .tuple(fc.dictionary(fc.constantFrom(...NAMES), imageNode, { size: "max", maxKeys: 3 }), fc.boolean())
  .map(([root, withLink]) => withHardLink(root, withLink));

/** Another name for a plain file at the top, if there is one. */
function withHardLink(root: Record<string, ImageNode>, wanted: boolean): Record<string, ImageNode> {
  const file = Object.keys(root).find((name) => root[name] instanceof Uint8Array);
  return wanted && file !== undefined ? { ...root, hard: { link: `/${file}` } } : root;
}

async function parentOf(volume: Volume, path: string): Promise<{ id: number | undefined; name: FileName }> {
  const names = path.split("/").slice(1).map(fileNameFromText);
  const name = names.pop()!;
  let id: number | undefined = volume.rootId;
  for (const component of names) {
    if (id === undefined || (await volume.getattr(id)).type !== "directory") return { id: undefined, name };
    id = await volume.lookup(id, component);
  }
  if (id !== undefined && (await volume.getattr(id)).type !== "directory") id = undefined;
  return { id, name };
}

export async function idOf(volume: Volume, path: string): Promise<number | undefined> {
  const { id, name } = await parentOf(volume, path);
  return id === undefined ? undefined : volume.lookup(id, name);
}

/** Does it, and tells how it went in a way that is the same for both volumes. */
export async function apply(volume: Volume, operation: Exclude<Operation, { kind: "restart" }>): Promise<string> {
  try {
    return await applied(volume, operation);
  } catch (error) {
    const { status } = error as { status?: string };
    if (status === undefined) throw error;
    return status;
  }
}

async function applied(volume: Volume, operation: Exclude<Operation, { kind: "restart" }>): Promise<string> {
  const { id: directoryId, name } = await parentOf(volume, operation.path);
  if (directoryId === undefined) return "no directory";
  const id = await volume.lookup(directoryId, name);
  switch (operation.kind) {
    case "write":
    case "resize":
    case "commit":
      if (id === undefined || (await volume.getattr(id)).type !== "file") return "no file";
      if (operation.kind === "write") await volume.write(id, operation.offset, operation.bytes, operation.stable);
      else if (operation.kind === "commit") await volume.commit(id);
      else await volume.setattr(id, { sizeBytes: operation.sizeBytes });
      return "done";
    case "chmod":
      if (id === undefined) return "no file";
      await volume.setattr(id, { mode: operation.mode });
      return "done";
    case "create":
      await volume.create(directoryId, name, { kind: "guarded" }, ATTRIBUTES);
      return "done";
    case "recreate":
      await volume.create(directoryId, name, { kind: "unchecked" }, { ...ATTRIBUTES, sizeBytes: 0 });
      return "done";
    case "mkdir":
      await volume.mkdir(directoryId, name, ATTRIBUTES);
      return "done";
    case "symlink":
      await volume.symlink(directoryId, name, "elsewhere" as FileName, ATTRIBUTES);
      return "done";
    case "mknod":
      await volume.mknod(directoryId, name, { type: "block", device: { major: 8, minor: 1 } }, ATTRIBUTES);
      return "done";
    case "remove":
      await volume.remove(directoryId, name);
      return linksLeft(volume, id!);
    case "rmdir":
      await volume.rmdir(directoryId, name);
      return "done";
    case "link": {
      const to = await parentOf(volume, operation.to);
      if (to.id === undefined || id === undefined) return "no file";
      if ((await volume.getattr(id)).type === "directory") return "a directory";
      await volume.link(id, to.id, to.name);
      return "done";
    }
    case "rename": {
      const to = await parentOf(volume, operation.to);
      if (to.id === undefined) return "no directory";
      const replaced = await volume.lookup(to.id, to.name);
      await volume.rename(directoryId, name, to.id, to.name);
      return replaced === undefined ? "done" : linksLeft(volume, replaced);
    }
  }
}

/** What became of a file that lost a name. */
async function linksLeft(volume: Volume, id: number): Promise<string> {
  try {
    return `${(await volume.getattr(id)).linkCount} links left`;
  } catch (error) {
    return (error as { status: string }).status;
  }
}

/** Names in a directory, listed two at a time. */
export async function namesIn(volume: Volume, id: number): Promise<FileName[]> {
  const names: FileName[] = [];
  for (let cookie = 0; ; ) {
    const { entries, complete } = await volume.readdir(id, cookie, 2);
    names.push(...entries.map((entry) => entry.name));
    if (complete) return names.filter((name) => name !== "." && name !== "..");
    cookie = entries.at(-1)!.cookie;
  }
}
