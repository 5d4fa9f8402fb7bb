/** What a node wrote, as a layer: active or frozen. */
import { type ContentSource, readContent, readContentSync } from "./content-reader.ts";
import type { GeneratedPlace, Layer } from "./layer.ts";
import { type InodeOverride, OverlayLayer, REMOVED } from "./overlay-layer.ts";

/** What a layer of a node's own lies on. */
export interface Ground {
  below: Layer;
  /**
   * The same without generated files, which are copied whole: files inherit their contents from here. So when a
   * generated file comes to the place of one that the node has changed in part, the rest of that stays the image's.
   */
  inherited: Layer;
}

export abstract class WrittenLayer<Override extends InodeOverride = InodeOverride> extends OverlayLayer {
  #inherited: Layer;

  constructor({ below, inherited }: Ground) {
    super(below);
    this.#inherited = inherited;
  }

  get inherited(): Layer {
    return this.#inherited;
  }

  layOver({ below, inherited }: Ground): void {
    this.below = below;
    this.#inherited = inherited;
  }

  abstract override override(id: number): Override | typeof REMOVED | undefined;
  /** True when this layer says something about the file: quicker than to look what. */
  protected abstract says(id: number): boolean;
  protected abstract sourceOf(file: Override): ContentSource;

  /** A file that the node changed outlives its path's removal by a generated layer: the node may have renamed it. */
  override linksBelow(id: number): number | undefined {
    return super.linksBelow(id) ?? this.inherited.attributes(id)?.linkCount;
  }

  nextCookie(directoryId: number): number {
    const override = this.override(directoryId);
    return typeof override === "object" ? override.nextCookie : this.below.nextCookie(directoryId);
  }

  generatedPlace(id: number): GeneratedPlace | undefined {
    return this.says(id) ? undefined : this.below.generatedPlace(id);
  }

  /** True when the node changed or removed the file, in this layer or in one below. */
  isWritten(id: number): boolean {
    return this.says(id) || (this.below instanceof WrittenLayer && this.below.isWritten(id));
  }

  readSync(id: number, target: Uint8Array, offset: number): number {
    const override = this.override(id);
    if (override === undefined) return this.below.readSync(id, target, offset);
    return override === REMOVED ? 0 : readContentSync(this.sourceOf(override), id, override, target, offset);
  }

  read(id: number, target: Uint8Array, offset: number): number | Promise<number> {
    const override = this.override(id);
    if (override === undefined) return this.below.read(id, target, offset);
    return override === REMOVED ? 0 : readContent(this.sourceOf(override), id, override, target, offset);
  }
}
