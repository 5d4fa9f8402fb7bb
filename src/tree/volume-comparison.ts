/** Comparing volumes, for the tests of this folder. */
import type { FileName } from "../bytes/file-name.ts";
import { MemoryVolume } from "../nfs/memory-volume.ts";
import type { Volume } from "../nfs/volume.ts";
import { namesIn } from "./random-operations.ts";

/** Every path with all that can be seen of it; files are numbered in the order they are met, so links show. */
export async function everything(volume: Volume): Promise<string[]> {
  const lines: string[] = [];
  const numbers = new Map<number, number>();
  const walk = async (id: number, path: string, parentId: number): Promise<void> => {
    const { type, mode, uid, gid, linkCount, sizeBytes, device } = await volume.getattr(id);
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    const size = type === "directory" ? "" : sizeBytes;
    const what = `${type} #${numbers.get(id)} ${mode.toString(8)} ${uid}:${gid} links ${linkCount} ${size}`;
    if (type === "directory") {
      if ((await volume.lookup(id, ".." as FileName)) !== parentId) lines.push(`${path}/.. leads elsewhere`);
      lines.push(`${path}/ ${what}`);
      const names = await namesIn(volume, id);
      for (const name of names.sort()) await walk((await volume.lookup(id, name))!, `${path}/${name}`, id);
    } else if (type === "file") {
      const { bytes, endOfFile } = await volume.read(id, 0, sizeBytes + 10);
      lines.push(`${path} ${what} ${runs(bytes)} ${endOfFile}`);
    } else if (type === "symlink") {
      lines.push(`${path} ${what} -> ${await volume.readlink(id)}`);
    } else {
      lines.push(`${path} ${what} ${device.major},${device.minor}`);
    }
  };
  await walk(volume.rootId, "", volume.rootId);
  return lines;
}

/** Contents are runs of one byte: readable when they differ. */
function runs(bytes: Uint8Array): string {
  const found: string[] = [];
  for (let start = 0, end = 0; start < bytes.length; start = end) {
    while (end < bytes.length && bytes[end] === bytes[start]) end += 1;
    found.push(`${bytes[start]}×${end - start}`);
  }
  return found.join(" ");
}

/** The same files in memory. */
export async function copyOf(original: Volume): Promise<MemoryVolume> {
  const volume = new MemoryVolume();
  const copies = new Map<number, number>([[original.rootId, volume.rootId]]);
  const fill = async (directoryId: number): Promise<void> => {
    const into = copies.get(directoryId)!;
    for (const name of await namesIn(original, directoryId)) {
      const id = (await original.lookup(directoryId, name))!;
      const { type, mode, uid, gid, sizeBytes, device } = await original.getattr(id);
      const known = copies.get(id);
      if (known !== undefined) volume.link(known, into, name);
      else if (type === "directory") copies.set(id, volume.mkdir(into, name, { mode, uid, gid }));
      else if (type === "symlink") {
        copies.set(id, volume.symlink(into, name, await original.readlink(id), { mode, uid, gid }));
      } else if (type !== "file") {
        copies.set(id, volume.mknod(into, name, { type, device }, { mode, uid, gid }));
      } else {
        copies.set(id, volume.create(into, name, { kind: "guarded" }, { mode, uid, gid }));
        volume.write(copies.get(id)!, 0, (await original.read(id, 0, sizeBytes)).bytes);
      }
      if (type === "directory") await fill(id);
    }
  };
  await fill(original.rootId);
  return volume;
}

/** Ids of all files that have a name. */
export async function idsIn(volume: Volume): Promise<Set<number>> {
  const ids = new Set<number>();
  const walk = async (id: number): Promise<void> => {
    ids.add(id);
    if ((await volume.getattr(id)).type !== "directory") return;
    for (const name of await namesIn(volume, id)) await walk((await volume.lookup(id, name))!);
  };
  await walk(volume.rootId);
  return ids;
}
