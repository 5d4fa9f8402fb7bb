import { DecodeError } from "../../bytes/decode-error.ts";
import { BoundedCache } from "../../cache/bounded-cache.ts";
import { EXT4_METADATA_CACHE_BYTES } from "../../limits.ts";
import type { ByteSource } from "../../ports.ts";

/** A block and its numbers. Blocks are shared and never written to. */
export interface MetadataBlock {
  bytes: Uint8Array;
  view: DataView;
}

/** Reads the blocks that describe the file system through a bounded cache. */
export class MetadataBlocks {
  readonly blockBytes: number;
  readonly blocksCount: number;
  readonly #source: ByteSource;
  readonly #cache: BoundedCache<MetadataBlock>;

  constructor(source: ByteSource, blockBytes: number, blocksCount: number) {
    this.blockBytes = blockBytes;
    this.blocksCount = blocksCount;
    this.#source = source;
    this.#cache = new BoundedCache(EXT4_METADATA_CACHE_BYTES, (block) => block.bytes.length);
  }

  /** `format` and `where` say who points there, for the error when the number lies outside the file system. */
  block(number: number, format: string, where: string): MetadataBlock {
    if (number < 1 || number >= this.blocksCount) throw outside(number, this.blocksCount, format, where);
    return this.#cache.getOrMake(number, this.#load);
  }

  readonly #load = (number: number): MetadataBlock => {
    const bytes = new Uint8Array(this.blockBytes);
    this.#source.readSync(bytes, number * this.blockBytes);
    return { bytes, view: new DataView(bytes.buffer) };
  };
}

export function outside(number: number, blocksCount: number, format: string, where: string): DecodeError {
  return new DecodeError(
    format,
    where,
    `block ${number} is outside of the file system, which has ${blocksCount} blocks`,
  );
}
