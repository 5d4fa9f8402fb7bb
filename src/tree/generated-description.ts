/** Generated files as the catalog described them, laid over an image again: the same layer in every process. */
import { fingerprintOf } from "./generated-ids.ts";
import { type GeneratedLayer, placeFiles } from "./generated-layer.ts";
import type { ImageLayer } from "./image-layer.ts";
import type { GeneratedDescription } from "./tree-description.ts";

export function layDescribed(below: ImageLayer, { files, indexes, timesNs }: GeneratedDescription): GeneratedLayer {
  return placeFiles(below, files, {
    firstId: below.image.lastId + 1,
    indexFor: (path) => described(indexes.get(path), path),
    timeNsFor: (file) => described(timesNs.get(fingerprintOf(file)), file.path),
  });
}

function described<T>(value: T | undefined, path: string): T {
  if (value === undefined) throw new Error(`Cannot place ${path}: the tree's description does not have it`);
  return value;
}
