/** The path of a file whose name in some directory is known, for showing: an inode does not say what it is called. */
import { type FileName, fileNameToText } from "../bytes/file-name.ts";
import { PATH_CLIMB_DIRECTORIES_MAX, PATH_CLIMB_ENTRIES_MAX } from "../limits.ts";
import type { Layer } from "./layer.ts";

/** `undefined` when there is no such file, or its path is too far to look for. */
export function pathOf(layer: Layer, directoryId: number, name: FileName): string | undefined {
  if (layer.lookup(directoryId, name) === undefined) return undefined;
  const above = directoryPath(layer, directoryId);
  return above && `${above === "/" ? "" : above}/${fileNameToText(name)}`;
}

/** The same for a directory, which knows where it is. */
export function directoryPath(layer: Layer, directoryId: number): string | undefined {
  const names: string[] = [];
  let entriesLeft = PATH_CLIMB_ENTRIES_MAX;
  let id = directoryId;
  while (id !== layer.rootId) {
    const parentId = layer.parentOf(id);
    const entries = layer.entries(parentId);
    entriesLeft -= entries.length;
    const name = entriesLeft < 0 ? undefined : entries.find((entry) => entry.id === id)?.name;
    if (name === undefined || names.length >= PATH_CLIMB_DIRECTORIES_MAX) return undefined;
    names.unshift(fileNameToText(name));
    id = parentId;
  }
  return `/${names.join("/")}`;
}
