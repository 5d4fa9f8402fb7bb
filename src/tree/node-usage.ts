import { storedBytes } from "./file-data.ts";
import type { NodeLayer } from "./node-layer.ts";

/** Bytes of contents that a node layer stores, inline and in data files. Reads all its records. */
export function storedBytesOf(layer: NodeLayer): number {
  let bytes = 0;
  for (const id of layer.overridden) {
    const override = layer.override(id);
    if (typeof override !== "object" || override.data === undefined) continue;
    bytes += storedBytes(override.data, override.attributes.sizeBytes);
  }
  return bytes;
}
