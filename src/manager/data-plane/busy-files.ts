/** Which files of a tree are busy, by path. */
import type { FileName } from "../../bytes/file-name.ts";
import type { HeavyHitter } from "../../nfs/heavy-hitters.ts";
import type { SeenName } from "../../nfs/seen-names.ts";
import type { TreeCounters } from "../../nfs/tree-counters.ts";
import { directoryPath, pathOf } from "../../tree/file-path.ts";
import type { Layer } from "../../tree/layer.ts";

/** What is counted is bytes, or calls for `called`: over the last ten seconds or so, the busiest first. */
export interface BusyFiles {
  called: BusyFile[];
  read: BusyFile[];
  written: BusyFile[];
  writers: { uid: number; perS: number }[];
}

export interface BusyFile {
  path: string;
  perS: number;
}

interface KnownPath extends SeenName {
  path: string;
}

/** The paths of one tree's busy files. They are looked for once, and then only checked while the files stay busy. */
export class BusyPaths {
  #known = new Map<number, KnownPath>();

  /** Of the last `passedMs`; to be called each time that has passed. */
  take(counters: TreeCounters, layer: Layer, passedMs: number): BusyFiles {
    const hitters = counters.takeHitters(passedMs);
    const known = new Map<number, KnownPath>();
    const named = (files: readonly HeavyHitter[]): BusyFile[] =>
      files.map(({ key, perSecond }) => {
        const found = known.get(key) ?? this.#find(key, counters, layer);
        if (found) known.set(key, found);
        return { path: found?.path ?? unnamed(key), perS: perSecond };
      });
    const busy = {
      called: named(hitters.called),
      read: named(hitters.read),
      written: named(hitters.written),
      writers: hitters.writers.map(({ key, perSecond }) => ({ uid: key, perS: perSecond })),
    };
    this.#known = known;
    return busy;
  }

  #find(fileId: number, counters: TreeCounters, layer: Layer): KnownPath | undefined {
    try {
      return this.#look(fileId, counters, layer);
    } catch {
      // A damaged image or a failing disk: those who read the files are told, and this is only for showing.
      return undefined;
    }
  }

  #look(fileId: number, counters: TreeCounters, layer: Layer): KnownPath | undefined {
    const isThere = ({ directoryId, name }: SeenName) => layer.lookup(directoryId, name)?.id === fileId;
    const known = this.#known.get(fileId);
    if (known && isThere(known)) return known;
    const seen = counters.nameOf(fileId);
    if (seen && isThere(seen)) return withPath(seen, pathOf(layer, seen.directoryId, seen.name));
    if (layer.attributes(fileId)?.type !== "directory") return undefined;
    return withPath({ directoryId: fileId, name: "." as FileName }, directoryPath(layer, fileId));
  }
}

function withPath(seen: SeenName, path: string | undefined): KnownPath | undefined {
  return path === undefined ? undefined : { ...seen, path };
}

/** A client that has a file open since before this worker ran never said its name. */
function unnamed(fileId: number): string {
  return `(file ${fileId})`;
}
