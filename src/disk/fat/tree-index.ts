/** All directories of a FAT volume, read once when it is opened: they are few, and everything else needs them. */
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileName, fileNameToText } from "../../bytes/file-name.ts";
import { FAT_DIRECTORY_BYTES_MAX, FAT_FILES_MAX } from "../../limits.ts";
import type { ByteSource } from "../../ports.ts";
import type { DirectoryEntry, FileExtent } from "../file-system-image.ts";
import { readBytes } from "../sub-source.ts";
import { DIRECTORY_ENTRY_BYTES, type FatLayout } from "./boot-sector.ts";
import type { ClusterChains } from "./cluster-chains.ts";
import { type FatDirectoryEntry, readDirectory } from "./directory-entry.ts";

/** Byte positions of other entries, divided by 32, are larger: a volume begins with its boot sector. */
export const ROOT_ID = 1;

export interface FatDirectory {
  parentId: number;
  entries: DirectoryEntry[];
  /** By folded name, long names and 8.3 names. */
  idByName: Map<string, number>;
  subdirectories: number;
  sizeBytes: number;
}

export interface TreeIndex {
  directories: Map<number, FatDirectory>;
  /** Files and directories, all but the root. */
  entries: Map<number, FatDirectoryEntry>;
  label?: string;
}

interface DirectoryToRead {
  id: number;
  parentId: number;
  extents: FileExtent[];
  what: string;
}

/** As Linux compares names: whatever their case, and without dots at the end. */
export function foldName(name: FileName): string {
  return fileNameToText(name).replace(/\.+$/, "").toLowerCase();
}

export function indexTree(source: ByteSource, layout: FatLayout, chains: ClusterChains): TreeIndex {
  const index: TreeIndex = { directories: new Map(), entries: new Map() };
  const clustersSeen = new Set<number>();
  // All of them, or many directories that share their later clusters would take for ever.
  const extentsOf = (firstCluster: number, what: string): FileExtent[] => {
    const extents = chains.extentsOfDirectory(firstCluster, FAT_DIRECTORY_BYTES_MAX, what);
    for (const cluster of chains.clustersIn(extents)) {
      if (clustersSeen.has(cluster)) {
        throw new DecodeError(layout.kind, what, `its cluster ${cluster} belongs to another directory already`);
      }
      clustersSeen.add(cluster);
    }
    return extents;
  };

  const what = "root directory";
  const extents =
    "cluster" in layout.root
      ? extentsOf(layout.root.cluster, what)
      : [{ fileOffset: 0, sourceOffset: layout.root.startByte, lengthBytes: layout.root.sizeBytes }];
  const pending: DirectoryToRead[] = [{ id: ROOT_ID, parentId: ROOT_ID, extents, what }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [id, entry] of indexDirectory(source, next, index)) {
      const name = `directory ${fileNameToText(entry.name)}`;
      pending.push({ id, parentId: next.id, extents: extentsOf(entry.firstCluster, name), what: name });
    }
    if (index.entries.size > FAT_FILES_MAX) {
      throw new DecodeError(layout.kind, next.what, `the volume has more than ${FAT_FILES_MAX} files`);
    }
  }
  return index;
}

/** Adds one directory to the index and returns the directories in it. */
function indexDirectory(
  source: ByteSource,
  { id, parentId, extents, what }: DirectoryToRead,
  index: TreeIndex,
): [number, FatDirectoryEntry][] {
  const bytes = Buffer.concat(extents.map((extent) => readBytes(source, extent.sourceOffset, extent.lengthBytes)));
  const { entries, label } = readDirectory(bytes, what);
  if (id === ROOT_ID && label !== undefined) index.label = label;

  const withIds = entries.map((entry): [number, FatDirectoryEntry] => [entryId(extents, entry.index), entry]);
  const subdirectories = withIds.filter(([, entry]) => entry.isDirectory);
  const idByName = new Map<string, number>();
  for (const [entryId, entry] of withIds) {
    index.entries.set(entryId, entry);
    const folded = foldName(entry.name);
    if (!idByName.has(folded)) idByName.set(folded, entryId);
  }
  for (const [entryId, entry] of withIds) {
    const folded = entry.shortName.toLowerCase();
    if (!idByName.has(folded)) idByName.set(folded, entryId);
  }
  index.directories.set(id, {
    parentId,
    entries: withIds.map(([entryId, entry]) => ({ name: entry.name, id: entryId })),
    idByName,
    subdirectories: subdirectories.length,
    sizeBytes: bytes.length,
  });
  return subdirectories;
}

function entryId(extents: FileExtent[], entryIndex: number): number {
  const offset = entryIndex * DIRECTORY_ENTRY_BYTES;
  const extent = extents.findLast((candidate) => candidate.fileOffset <= offset);
  if (extent === undefined) throw new RangeError(`Cannot place entry ${entryIndex}: the directory has no extents`);
  return (extent.sourceOffset + offset - extent.fileOffset) / DIRECTORY_ENTRY_BYTES;
}
