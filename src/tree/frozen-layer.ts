/** Frozen layers over what lies under them in one tree. */
import { type ContentSource, readContent, readContentSync } from "./content-reader.ts";
import type { FrozenFile, FrozenLayers } from "./frozen-layers.ts";
import type { LayerEntry } from "./layer.ts";
import type { REMOVED } from "./overlay-layer.ts";
import { type Ground, WrittenLayer } from "./written-layer.ts";

export class FrozenLayer extends WrittenLayer<FrozenFile> {
  readonly #layers: FrozenLayers;

  constructor(layers: FrozenLayers, ground: Ground) {
    super(ground);
    this.#layers = layers;
  }

  override(id: number): FrozenFile | typeof REMOVED | undefined {
    return this.#layers.file(id);
  }

  protected says(id: number): boolean {
    return this.#layers.has(id);
  }

  protected names(directoryId: number): ReadonlyMap<string, LayerEntry> | undefined {
    return this.#layers.names(directoryId, this.caseSensitive);
  }

  protected sourceOf({ layerId, inherits }: FrozenFile): ContentSource {
    const { shared } = this.#layers;
    if (inherits === undefined) return { layerId, shared, inherited: this.inherited };
    const source = this.sourceOf(inherits);
    const inherited = {
      readSync: (id: number, target: Uint8Array, offset: number) =>
        readContentSync(source, id, inherits, target, offset),
      read: (id: number, target: Uint8Array, offset: number) => readContent(source, id, inherits, target, offset),
    };
    return { layerId, shared, inherited };
  }
}
