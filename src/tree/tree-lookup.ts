/** Finding files in a layer: by path, and by listing a directory piece by piece. */
import { type FileName, fileNameFromText } from "../bytes/file-name.ts";
import { SYMLINKS_FOLLOWED_MAX } from "../limits.ts";
import type { VolumeEntry } from "../nfs/volume.ts";
import { firstAfter, type Layer, type LayerEntry } from "./layer.ts";

/** The file at a path from the root, through symlinks; `undefined` when there is none. */
export function lookupPath(layer: Layer, path: string): number | undefined {
  const left = path.split("/").map(fileNameFromText);
  const way = [layer.rootId];
  let followed = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      if (way.length > 1) way.pop();
      continue;
    }
    const id = layer.lookup(way.at(-1)!, name)?.id;
    const type = id === undefined ? undefined : layer.attributes(id)?.type;
    if (id === undefined || type === undefined) return undefined;
    if (type !== "symlink") {
      way.push(id);
      continue;
    }
    if (++followed > SYMLINKS_FOLLOWED_MAX) return undefined;
    const target = layer.symlinkTarget(id);
    if (target.startsWith("/")) way.length = 1;
    left.unshift(...(target.split("/") as FileName[]));
  }
  return way.at(-1);
}

/** At most `limit` entries after `cookie`, `.` and `..` first; `complete` when the last of all is among them. */
export function listFrom(
  layer: Layer,
  directoryId: number,
  cookie: number,
  limit: number,
): { entries: VolumeEntry[]; complete: boolean } {
  const parentId = directoryId === layer.rootId ? directoryId : layer.parentOf(directoryId);
  const dots: LayerEntry[] = [
    { name: "." as FileName, id: directoryId, cookie: 1 },
    { name: ".." as FileName, id: parentId, cookie: 2 },
  ];
  const dotsLeft = dots.filter((entry) => entry.cookie > cookie);
  const listed = layer.entries(directoryId);
  const start = firstAfter(listed, cookie);
  const piece = listed.slice(start, start + limit);
  const entries = dotsLeft.length === 0 ? piece : [...dotsLeft, ...piece].slice(0, limit);
  return { entries, complete: entries.length === dotsLeft.length + listed.length - start };
}
