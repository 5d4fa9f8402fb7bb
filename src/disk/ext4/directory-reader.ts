import { DecodeError } from "../../bytes/decode-error.ts";
import type { FileName } from "../../bytes/file-name.ts";
import { BoundedCache } from "../../cache/bounded-cache.ts";
import { EXT4_DIRECTORY_BYTES_MAX, EXT4_DIRECTORY_ENTRIES_MAX, EXT4_ENTRIES_CACHED_MAX } from "../../limits.ts";
import type { DirectoryEntry } from "../file-system-image.ts";
import { type DirectoryRules, parseEntries, verifyDirectoryBlock } from "./directory.ts";
import { INCOMPATIBLE } from "./features.ts";
import type { FileContents } from "./file-contents.ts";
import { INODE_FLAGS, type Inode } from "./inode.ts";
import type { Superblock } from "./superblock.ts";

/** Inline directories have no `.` and `..`: the parent's id stands before the first entry. */
const INLINE_PARENT_BYTES = 4;

export interface Directory {
  /** In on-disk order. */
  entries: readonly DirectoryEntry[];
  ids: ReadonlyMap<FileName, number>;
  parent: number;
}

/** Parses whole directories, and keeps those looked into lately. */
export class DirectoryReader {
  readonly #superblock: Superblock;
  readonly #contents: FileContents;
  readonly #inodeOf: (id: number) => Inode;
  readonly #directories = new BoundedCache<Directory>(EXT4_ENTRIES_CACHED_MAX, ({ entries }) => entries.length + 4);

  /** `inodeOf` gives the inode of a directory, or throws. */
  constructor(superblock: Superblock, contents: FileContents, inodeOf: (id: number) => Inode) {
    this.#superblock = superblock;
    this.#contents = contents;
    this.#inodeOf = inodeOf;
  }

  read(id: number): Directory {
    return this.#directories.getOrMake(id, this.#load);
  }

  readonly #load = (id: number): Directory => {
    const inode = this.#inodeOf(id);
    const { inodesCount, features } = this.#superblock;
    const rules: DirectoryRules = {
      format: `ext4 directory ${id}`,
      inodesCount,
      hasFileTypes: (features.incompatible & INCOMPATIBLE.fileType) !== 0,
    };
    const entries: DirectoryEntry[] = [];
    const isInline = (inode.flags & INODE_FLAGS.inlineData) !== 0;
    const parent = isInline ? this.#readInline(inode, rules, entries) : this.#readBlocks(inode, rules, entries);
    if (parent === undefined) throw new DecodeError(rules.format, "block 0", "it has no entry for its parent");
    return { entries, ids: new Map(entries.map((entry) => [entry.name, entry.id])), parent };
  };

  #readBlocks(inode: Inode, rules: DirectoryRules, entries: DirectoryEntry[]): number | undefined {
    const { blockBytes, blocksCount, verifiesChecksums } = this.#superblock;
    const { sizeBytes } = inode.attributes;
    if (sizeBytes % blockBytes !== 0 || sizeBytes > Math.min(blocksCount * blockBytes, EXT4_DIRECTORY_BYTES_MAX)) {
      throw new DecodeError(
        rules.format,
        "i_size (byte 4)",
        `${sizeBytes} bytes cannot be the size of a directory here`,
      );
    }
    const map = this.#contents.mapOf(inode);
    const isIndexed = (inode.flags & INODE_FLAGS.indexed) !== 0;
    const bytes = new Uint8Array(blockBytes);
    let parent: number | undefined;
    for (let offset = 0; offset < sizeBytes; offset += blockBytes) {
      const where = `block ${offset / blockBytes}`;
      const isHole = "runs" in map && map.runs.find(offset / blockBytes).sourceBlock === 0;
      if (isHole) throw new DecodeError(rules.format, where, "there is a hole instead of it; the image is damaged");
      this.#contents.readMapSync(map, bytes, offset);
      if (verifiesChecksums) verifyDirectoryBlock(bytes, rules.format, where, inode.checksumSeed, isIndexed);
      parent = parseEntries(bytes, where, rules, entries) ?? parent;
      if (entries.length > EXT4_DIRECTORY_ENTRIES_MAX) {
        throw new DecodeError(rules.format, where, `it has more than ${EXT4_DIRECTORY_ENTRIES_MAX} entries`);
      }
    }
    return parent;
  }

  #readInline(inode: Inode, rules: DirectoryRules, entries: DirectoryEntry[]): number {
    const map = this.#contents.mapOf(inode);
    const contents = "inline" in map ? map.inline : new Uint8Array(0);
    const areaBytes = inode.blockArea.length;
    if (contents.length < areaBytes) {
      throw new DecodeError(rules.format, "i_size (byte 4)", `${contents.length} bytes inline instead of ${areaBytes}`);
    }
    parseEntries(contents.subarray(INLINE_PARENT_BYTES, areaBytes), "inode", rules, entries);
    parseEntries(contents.subarray(areaBytes), "inline tail", rules, entries);
    return new DataView(contents.buffer, contents.byteOffset).getUint32(0, true);
  }
}
