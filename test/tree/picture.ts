/** Everything that is compared of a tree of ours and of a directory of this machine. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { VolumeFileType } from "../../src/nfs/volume.ts";
import { namesIn } from "../../src/tree/random-operations.ts";
import type { Tree } from "../../src/tree/tree.ts";
import { SECOND_NS, typeOf } from "./random-changes.ts";

/** All that is compared of one file. Times are seconds; `new` when they were not set by a change. */
interface Facts {
  type: VolumeFileType;
  /** Numbers files in the order in which they are met, so that links show. */
  number: number;
  mode: number;
  owner: string;
  linkCount: number;
  sizeBytes: number;
  device: string;
  mtime: string;
  contents: string;
}

export type Picture = Record<string, Facts>;

export function pictureOfDirectory(root: string): Picture {
  const picture: Picture = {};
  const numbers = new Map<number, number>();
  const visit = (path: string): void => {
    const full = root + path;
    const stats = lstatSync(full);
    if (!numbers.has(stats.ino)) numbers.set(stats.ino, numbers.size);
    const type = typeOf(stats);
    const device = BigInt(stats.rdev);
    const [major, minor] = [
      ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn),
      ((device >> 12n) & ~0xffn) | (device & 0xffn),
    ];
    picture[path] = {
      type,
      number: numbers.get(stats.ino)!,
      mode: stats.mode & 0o7777,
      owner: `${stats.uid}:${stats.gid}`,
      linkCount: stats.nlink,
      sizeBytes: type === "directory" ? 0 : stats.size,
      device: type === "block" || type === "character" ? `${major}:${minor}` : "",
      mtime: timeText(Math.floor(stats.mtimeMs / 1000)),
      contents: type === "file" ? runs(readFileSync(full)) : type === "symlink" ? readlinkSync(full) : "",
    };
    if (type === "directory") for (const name of readdirSync(full).sort()) visit(`${path}/${name}`);
  };
  visit("");
  return picture;
}

export async function pictureOfTree(tree: Tree, top: number): Promise<Picture> {
  const picture: Picture = {};
  const numbers = new Map<number, number>();
  const visit = async (id: number, path: string): Promise<void> => {
    const { type, mode, uid, gid, linkCount, sizeBytes, device, mtimeNs } = tree.getattr(id);
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    const isDevice = type === "block" || type === "character";
    picture[path] = {
      type,
      number: numbers.get(id)!,
      mode,
      owner: `${uid}:${gid}`,
      linkCount,
      sizeBytes: type === "directory" ? 0 : sizeBytes,
      device: isDevice ? `${device.major}:${device.minor}` : "",
      mtime: timeText(Number(mtimeNs / SECOND_NS)),
      contents: type === "symlink" ? tree.readlink(id) : "",
    };
    if (type === "file") picture[path].contents = runs((await tree.read(id, 0, sizeBytes + 10)).bytes);
    if (type !== "directory") return;
    for (const name of (await namesIn(tree, id)).sort()) await visit(tree.lookup(id, name)!, `${path}/${name}`);
  };
  await visit(top, "");
  return picture;
}

const NEW_SECONDS = 1_500_000_000;

function timeText(seconds: number): string {
  return seconds > NEW_SECONDS ? "new" : `${seconds}`;
}

/** Contents are runs of one byte: readable when they differ. */
function runs(bytes: Uint8Array): string {
  const found: string[] = [];
  for (let start = 0, end = 0; start < bytes.length; start = end) {
    const value = bytes[start]!;
    while (end < bytes.length && bytes[end] === value) end += 1;
    found.push(`${value}×${end - start}`);
  }
  return found.join(" ");
}
