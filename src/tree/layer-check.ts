/** Checks one layer by itself: that its records can be read, fit each other, and fit its data files. */
import type { DataFiles, KeyValueStore } from "../ports.ts";
import { type FileData, hasDataFile } from "./file-data.ts";
import { countedUsage, storedUsage } from "./layer-usage.ts";
import { dataFileName, dataFolder } from "./open-data-files.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";
import type { Finding } from "./store-check.ts";
import {
  decodeDoneCall,
  decodeEntry,
  decodeId,
  decodeInode,
  decodeLayerId,
  decodeUsage,
  directoryIdFromEntryKey,
  encodeUsage,
  idFromInodeKey,
  inodeKey,
  layerRange,
  partOfLayerKey,
  usageKey,
} from "./store-records.ts";

export interface CheckedLayer {
  findings: Finding[];
  recordCount: number;
  dataFileCount: number;
  /** The largest file id that it has a record of. */
  lastId: number;
}

export function checkLayer(layerId: number, store: KeyValueStore, dataFiles: DataFiles): CheckedLayer {
  const findings: Finding[] = [];
  const damage = (text: string) => void findings.push({ kind: "damage", text: `layer ${layerId}: ${text}` });
  let recordCount = 0;
  let lastId = 0;
  let areAllRead = true;
  const withDataFile = new Set<number>();
  const ids = new Set<number>();

  const checks: Record<string, (key: Uint8Array, value: Uint8Array) => void> = {
    i: (key, value) => {
      const id = idFromInodeKey(key);
      lastId = Math.max(lastId, id);
      ids.add(id);
      const inode = decodeInode(value);
      if (inode === REMOVED || inode.data === undefined) return;
      const why = whatIsWrong(inode, inode.data);
      if (why !== undefined) damage(`file ${id}: ${why}`);
      if (!hasDataFile(inode.data, inode.attributes.sizeBytes)) return;
      withDataFile.add(id);
      const lost = missingContent(dataFiles, dataFileName(layerId, id), inode.data);
      if (lost !== undefined) damage(`file ${id}: ${lost}`);
    },
    e: (key, value) => {
      decodeEntry(value);
      const directoryId = directoryIdFromEntryKey(key);
      // Names are read before records, as their keys sort: the record is not known yet.
      if (store.get(inodeKey(layerId, directoryId)) === undefined) {
        damage(`directory ${directoryId} has names but no record`);
      }
    },
    n: (_, value) => void decodeId(value),
    p: (_, value) => void decodeLayerId(value),
    u: (_, value) => void decodeUsage(value),
    d: (_, value) => void decodeDoneCall(value),
  };

  const { from, to } = layerRange(layerId);
  for (const { key, value } of store.range(from, to)) {
    recordCount += 1;
    const check = checks[partOfLayerKey(key)];
    if (check === undefined) damage(`a record of unknown kind: ${Buffer.from(key).toString("hex")}`);
    else {
      try {
        check(key, value);
      } catch (error) {
        areAllRead = false;
        damage(`record ${Buffer.from(key).toString("hex")}: ${(error as Error).message}`);
      }
    }
  }

  if (findings.length === 0) findings.push(...wrongUsage(layerId, store));

  const folder = dataFolder(layerId);
  const names = dataFiles.list(folder);
  for (const name of names) {
    // It may be that of a record that could not be read.
    if (!areAllRead) break;
    if (withDataFile.has(Number.parseInt(name, 16))) continue;
    const what = ids.has(Number.parseInt(name, 16))
      ? "whose file keeps its content elsewhere"
      : "that belongs to no file";
    findings.push({
      kind: "leftover",
      text: `layer ${layerId}: data file ${name} ${what}`,
      repair: { dataFile: `${folder}/${name}` },
    });
  }
  return { findings, recordCount, dataFileCount: names.length, lastId };
}

function wrongUsage(layerId: number, store: KeyValueStore): Finding[] {
  const [stored, counted] = [storedUsage(store, layerId), countedUsage(store, layerId)];
  if (stored.contentBytes === counted.contentBytes && stored.files === counted.files) return [];
  const text = `layer ${layerId}: its counter says ${stored.contentBytes} bytes in ${stored.files} files, and it holds ${counted.contentBytes} in ${counted.files}`;
  const mutations = [{ put: usageKey(layerId), value: encodeUsage(counted) }];
  return [{ kind: "damage", text, repair: { mutations } }];
}

function whatIsWrong({ attributes, whole }: InodeOverride, data: FileData): string | undefined {
  const { sizeBytes } = attributes;
  const { ranges, inheritedBytes, inline } = data;
  if (inline !== undefined && inline.length !== sizeBytes) {
    return `its record holds ${inline.length} bytes of content, and its size is ${sizeBytes}`;
  }
  if (inheritedBytes > sizeBytes) return `it inherits ${inheritedBytes} bytes, and its size is ${sizeBytes}`;
  if (whole && inheritedBytes > 0) return `it inherits ${inheritedBytes} bytes, but it was made in this layer`;
  if (ranges.length % 2 !== 0) return "a range of its content has no end";
  for (let index = 0; index < ranges.length; index += 1) {
    const before = index === 0 ? -1 : ranges[index - 1]!;
    if (ranges[index]! <= before || ranges[index]! > inheritedBytes)
      return "the ranges of its content are out of order";
  }
  return undefined;
}

/** Ranges were written to their ends; after them a file may be shorter than its size, and the rest is zeros. */
function missingContent(dataFiles: DataFiles, name: string, { ranges }: FileData): string | undefined {
  const end = ranges.at(-1) ?? 0;
  try {
    const there = dataFiles.readSync(name, new Uint8Array(1), Math.max(0, end - 1));
    return there === 1 || end === 0 ? undefined : `its data file ends before byte ${end}: content is lost`;
  } catch (error) {
    const isMissing = (error as { code?: unknown }).code === "ENOENT";
    return isMissing ? "its data file is missing: content is lost" : `its data file: ${(error as Error).message}`;
  }
}
