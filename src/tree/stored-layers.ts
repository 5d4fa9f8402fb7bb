/** Which layers a store has, and which lies on which. */
import type { KeyValueStore } from "../ports.ts";
import { decodeLayerId, LAYERS_RANGE, layerIdOfKey, layerRange, parentKey } from "./store-records.ts";

/** Ids of the layers that have keys, with one look at each. */
export function* storedLayerIds(store: KeyValueStore): Generator<number> {
  let { from } = LAYERS_RANGE;
  for (;;) {
    const next = store.range(from, LAYERS_RANGE.to)[Symbol.iterator]().next();
    if (next.done) return;
    const layerId = layerIdOfKey(next.value.key);
    yield layerId;
    from = layerRange(layerId).to;
  }
}

/** The layer that it lies on. */
export function parentOf(store: KeyValueStore, layerId: number): number | undefined {
  const bytes = store.get(parentKey(layerId));
  return bytes === undefined ? undefined : decodeLayerId(bytes);
}

/** This layer, and then those that it lies on, down to the lowest. */
export function* layersDownFrom(store: KeyValueStore, layerId: number): Generator<number> {
  const seen = new Set<number>();
  for (let id: number | undefined = layerId; id !== undefined; id = parentOf(store, id)) {
    if (seen.has(id)) throw new Error(`Cannot open layer ${layerId}: its parents are a circle`);
    seen.add(id);
    yield id;
  }
}
