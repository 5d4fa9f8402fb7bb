/**
 * Random changes of a directory, made to a tree of ours as the NFS procedures make them for root, and to a directory
 * of this machine by system calls.
 */
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import fc from "fast-check";
import koffi from "koffi";
import { type FileName, fileNameFromText } from "../../src/bytes/file-name.ts";
import { attributesForNew, authorizeChanges } from "../../src/nfs/permission.ts";
import type { Credentials } from "../../src/nfs/rpc.ts";
import type { AttributeChanges, VolumeFileType } from "../../src/nfs/volume.ts";
import { content, path } from "../../src/tree/random-operations.ts";
import type { Tree } from "../../src/tree/tree.ts";

type DeviceType = "block" | "character" | "fifo" | "socket";

/** Paths begin with a slash; no symlink is followed on the way. */
export type Change =
  | { kind: "write"; path: string; offset: number; bytes: Uint8Array }
  | { kind: "truncate"; path: string; sizeBytes: number }
  | { kind: "create" | "create-over" | "mkdir"; path: string; mode: number }
  | { kind: "symlink"; path: string; target: string }
  | { kind: "mknod"; path: string; mode: number; type: DeviceType; major: number; minor: number }
  | { kind: "unlink" | "rmdir"; path: string }
  | { kind: "link" | "rename"; path: string; to: string }
  | { kind: "chmod"; path: string; mode: number }
  | { kind: "chown"; path: string; uid: number; gid: number }
  | { kind: "set-mtime"; path: string; seconds: number };

const mode = fc.oneof(fc.constantFrom(0o644, 0o755, 0o2775, 0o4755), fc.nat(0o7777));
const offset = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4095, 4096, 8192, 3_000_000));
const owner = fc.constantFrom(0, 1, 1000, 70_000);
const kind = <K extends string>(...kinds: K[]) => fc.constantFrom(...kinds);
/** Long ago: what the kernel or the tree set by itself is of this year. */
const seconds = fc.integer({ min: 1, max: 1_200_000_000 });

export const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: kind("create", "create-over", "mkdir", "mkdir"), path, mode }) },
  { weight: 6, arbitrary: fc.record({ kind: kind("write"), path, offset, bytes: content }) },
  { weight: 5, arbitrary: fc.record({ kind: kind("rename"), path, to: path }) },
  { weight: 3, arbitrary: fc.record({ kind: kind("link"), path, to: path }) },
  { weight: 5, arbitrary: fc.record({ kind: kind("unlink", "unlink", "rmdir"), path }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("truncate"), path, sizeBytes: offset }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("symlink"), path, target: fc.constantFrom("x", "y".repeat(300)) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind("mknod"),
      path,
      mode,
      type: kind("block", "character", "fifo", "socket"),
      major: fc.nat(4095),
      // 0,0 is overlayfs' own mark for a removed name.
      minor: fc.integer({ min: 1, max: 0xfffff }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind("chmod"), path, mode }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("chown"), path, uid: owner, gid: owner }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("set-mtime"), path, seconds }) },
);

/** What the system call takes of a mode, so what a kernel sends in MKDIR. */
const MKDIR_MODE = 0o1777;
const ROOT: Credentials = { flavor: "AUTH_SYS", uid: 0, gid: 0, groups: [] };
const mknodCall = koffi.load(null).func("int mknod(const char *path, uint32_t mode, uint64_t device)");
const FORMAT = { block: 0o060000, character: 0o020000, fifo: 0o010000, socket: 0o140000 };

/** Makes the change below the directory `root` of this machine, and says how it went. */
export function changeDirectory(root: string, change: Change, options = { linksSymlinks: true }): string {
  try {
    return changed(root, change, options);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function changed(root: string, change: Change, options: { linksSymlinks: boolean }): string {
  if (!isBelowDirectories(root, change.path) || ("to" in change && !isBelowDirectories(root, change.to))) {
    return "no directory";
  }
  const path = root + change.path;
  const type = typeAt(path);
  switch (change.kind) {
    case "write":
    case "truncate": {
      if (type !== "file") return "no file";
      const descriptor = openSync(path, "r+");
      if (change.kind === "truncate") ftruncateSync(descriptor, change.sizeBytes);
      else writeSync(descriptor, change.bytes, 0, change.bytes.length, change.offset);
      closeSync(descriptor);
      return "done";
    }
    case "create":
    case "create-over": {
      if (change.kind === "create-over" && type !== undefined && type !== "file") return "no file";
      const exclusive = change.kind === "create" ? constants.O_EXCL : constants.O_TRUNC;
      closeSync(openSync(path, constants.O_CREAT | constants.O_WRONLY | exclusive, change.mode));
      return "done";
    }
    case "mkdir":
      mkdirSync(path, change.mode & MKDIR_MODE);
      return "done";
    case "symlink":
      symlinkSync(change.target, path);
      return "done";
    case "mknod": {
      const device = change.type === "block" || change.type === "character" ? deviceNumber(change) : 0n;
      if (mknodCall(path, FORMAT[change.type] | change.mode, device) === 0) return "done";
      return koffi.errno() === koffi.os.errno.EEXIST ? "EEXIST" : `errno ${koffi.errno()}`;
    }
    case "unlink":
      unlinkSync(path);
      return "done";
    case "rmdir":
      rmdirSync(path);
      return "done";
    case "link":
      if (type === undefined || type === "directory") return "no file";
      if (type === "symlink" && !options.linksSymlinks) return "no file";
      linkSync(path, root + change.to);
      return "done";
    case "rename":
      // Before it asks the file system what the two are, the kernel says ENOTEMPTY of a directory that holds the source.
      if (type !== undefined && type !== "directory" && change.path.startsWith(`${change.to}/`)) return "EISDIR";
      renameSync(path, root + change.to);
      return "done";
    case "chmod":
      if (type === undefined || type === "symlink") return "no file";
      chmodSync(path, change.mode);
      return "done";
    case "chown":
      lchownSync(path, change.uid, change.gid);
      return "done";
    case "set-mtime":
      lutimesSync(path, change.seconds, change.seconds);
      return "done";
  }
}

function isBelowDirectories(root: string, path: string): boolean {
  for (let end = path.indexOf("/", 1); end > 0; end = path.indexOf("/", end + 1)) {
    if (typeAt(root + path.slice(0, end)) !== "directory") return false;
  }
  return true;
}

function typeAt(path: string): VolumeFileType | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats && typeOf(stats);
}

export function typeOf(stats: Stats): VolumeFileType {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isBlockDevice()) return "block";
  if (stats.isCharacterDevice()) return "character";
  return stats.isFIFO() ? "fifo" : "socket";
}

/** glibc's makedev: 12 + 20 bits of major, 8 + 24 of minor. */
function deviceNumber({ major, minor }: { major: number; minor: number }): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & ~0xfffn) << 32n) | ((low & ~0xffn) << 12n) | ((high & 0xfffn) << 8n) | (low & 0xffn);
}

/** Makes the change below the directory `top` of the tree, and says how it went in the words of `changeDirectory`. */
export async function changeTree(tree: Tree, top: number, change: Change): Promise<string> {
  try {
    return await changedInTree(tree, top, change);
  } catch (error) {
    const { status } = error as { status?: string };
    if (status === undefined) throw error;
    return status.replace("NFS3ERR_", "E");
  }
}

async function changedInTree(tree: Tree, top: number, change: Change): Promise<string> {
  const place = placeOf(tree, top, change.path);
  if (place === undefined) return "no directory";
  const { directory, name } = place;
  const id = tree.lookup(directory, name);
  const type = id === undefined ? undefined : tree.getattr(id).type;
  const made = (requested: AttributeChanges, what: "file" | "directory" | "other") =>
    attributesForNew(ROOT, tree.getattr(directory), requested, what);
  const set = async (requested: AttributeChanges) => {
    if (id === undefined) return "ENOENT";
    await tree.setattr(id, authorizeChanges(ROOT, tree.getattr(id), requested));
    return "done";
  };
  switch (change.kind) {
    case "write":
      if (type !== "file") return "no file";
      await tree.write(id!, change.offset, change.bytes, false);
      return "done";
    case "truncate":
      return type === "file" ? set({ sizeBytes: change.sizeBytes }) : "no file";
    case "create":
      await tree.create(directory, name, { kind: "guarded" }, made({ mode: change.mode }, "file"));
      return "done";
    case "create-over":
      if (type !== undefined && type !== "file") return "no file";
      await tree.create(directory, name, { kind: "unchecked" }, made({ mode: change.mode, sizeBytes: 0 }, "file"));
      return "done";
    case "mkdir":
      await tree.mkdir(directory, name, made({ mode: change.mode & MKDIR_MODE }, "directory"));
      return "done";
    case "symlink":
      await tree.symlink(directory, name, fileNameFromText(change.target), made({ mode: 0o777 }, "other"));
      return "done";
    case "mknod": {
      const { type, major, minor } = change;
      const isDevice = type === "block" || type === "character";
      const special = isDevice ? { type, device: { major, minor } } : { type };
      await tree.mknod(directory, name, special, made({ mode: change.mode }, "other"));
      return "done";
    }
    case "unlink":
      await tree.remove(directory, name);
      return "done";
    case "rmdir":
      await tree.rmdir(directory, name);
      return "done";
    case "link": {
      const to = placeOf(tree, top, change.to);
      if (to === undefined) return "no directory";
      if (type === undefined || type === "directory") return "no file";
      await tree.link(id!, to.directory, to.name);
      return "done";
    }
    case "rename": {
      const to = placeOf(tree, top, change.to);
      if (to === undefined) return "no directory";
      await tree.rename(directory, name, to.directory, to.name);
      return "done";
    }
    case "chmod":
      return type === undefined || type === "symlink" ? "no file" : set({ mode: change.mode });
    case "chown":
      return set({ uid: change.uid, gid: change.gid });
    case "set-mtime":
      return set({ atime: BigInt(change.seconds) * SECOND_NS, mtime: BigInt(change.seconds) * SECOND_NS });
  }
}

export const SECOND_NS = 1_000_000_000n;

function placeOf(tree: Tree, top: number, path: string): { directory: number; name: FileName } | undefined {
  const names = path.slice(1).split("/").map(fileNameFromText);
  const name = names.pop()!;
  let directory = top;
  for (const component of names) {
    const id = tree.lookup(directory, component);
    if (id === undefined || tree.getattr(id).type !== "directory") return undefined;
    directory = id;
  }
  return { directory, name };
}
