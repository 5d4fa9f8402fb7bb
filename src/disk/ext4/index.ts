/**
 * ext2, ext3 and ext4 file systems, read-only and in place: Linux Documentation/filesystems/ext4/. A journal that
 * needs recovery is replayed in memory. Left out: encryption, case folding, external journals, fast commits (all
 * refused by name), and creation times, quotas and projects (never looked at).
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileName, fileNameFromBytes } from "../../bytes/file-name.ts";
import { EXTENDED_ATTRIBUTE_BYTES_MAX, SYMLINK_BYTES_MAX } from "../../limits.ts";
import type { ByteSource, FileRange } from "../../ports.ts";
import type { DirectoryEntry, FileSystemImage, FileType, InodeAttributes } from "../file-system-image.ts";
import { DirectoryReader } from "./directory-reader.ts";
import { type AttributeContext, readExtendedAttributes } from "./extended-attributes.ts";
import { INCOMPATIBLE, kindOf } from "./features.ts";
import { FileContents } from "./file-contents.ts";
import { readGroups } from "./group-descriptors.ts";
import { INODE_FLAGS, type Inode, InodeTable } from "./inode.ts";
import { usedInodes } from "./inode-bitmaps.ts";
import { JOURNAL_MAGIC } from "./journal-format.ts";
import { replayJournal } from "./journal-replay.ts";
import { MetadataBlocks } from "./metadata-blocks.ts";
import { type OverlayBlock, overlaySource } from "./overlay-source.ts";
import { ROOT_ID, readSuperblock, type Superblock } from "./superblock.ts";

/**
 * Opens the ext2, ext3 or ext4 file system that fills `source`, and closes `source` when it is closed itself. Throws
 * `DecodeError` for any other file system, for features that cannot be read safely, and for a damaged or cut image;
 * `source` then stays open. Ids are inode numbers; the file system's own inodes (journal, quotas, attribute values)
 * and deleted ones count as not in use.
 */
export function openExt4(source: ByteSource): FileSystemImage {
  const superblock = readSuperblock(source);
  if ((superblock.features.incompatible & INCOMPATIBLE.needsRecovery) === 0) return new Ext4Image(source, superblock);
  const recovered = replayedSource(source, superblock);
  return new Ext4Image(recovered, readSuperblock(recovered));
}

function replayedSource(source: ByteSource, superblock: Superblock): ByteSource {
  const { journalInode, blockBytes, blocksCount } = superblock;
  if (journalInode === 0) {
    const why =
      "the journal needs recovery, but lies on another device (journal_dev); run e2fsck on the original first";
    throw new DecodeError("ext4 superblock", "s_journal_inum (byte 224)", why);
  }
  const journal = new Ext4Image(source, superblock).ownFile(journalInode);
  const offsetOf = (block: number): number => journal.sourceOffset(block * blockBytes);
  const replayed = replayJournal(
    {
      blocksCount: Math.floor(journal.sizeBytes / blockBytes),
      read(block) {
        const bytes = new Uint8Array(blockBytes);
        source.readSync(bytes, offsetOf(block));
        return bytes;
      },
    },
    blocksCount,
  );
  if (replayed.size === 0) return source;
  const magic = new Uint8Array(4);
  new DataView(magic.buffer).setUint32(0, JOURNAL_MAGIC);
  const overlay = new Map<number, OverlayBlock>();
  for (const [block, { journalBlock, isEscaped }] of replayed) {
    const sourceOffset = offsetOf(journalBlock);
    overlay.set(block, isEscaped ? { sourceOffset, head: magic } : { sourceOffset });
  }
  return overlaySource(source, blockBytes, overlay);
}

class Ext4Image implements FileSystemImage {
  readonly kind: string;
  readonly label: string;
  readonly uuid: string;
  readonly rootId = ROOT_ID;
  readonly lastId: number;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  readonly caseSensitive = true;
  readonly #source: ByteSource;
  readonly #superblock: Superblock;
  readonly #inodes: InodeTable;
  readonly #contents: FileContents;
  readonly #directories: DirectoryReader;
  readonly #attributeContext: AttributeContext;
  readonly #usedInodes: () => Iterable<number>;

  constructor(source: ByteSource, superblock: Superblock) {
    const { blockBytes, blocksCount, verifiesChecksums, checksumSeed, inodesCount } = superblock;
    const blocks = new MetadataBlocks(source, blockBytes, blocksCount);
    const groups = readGroups(superblock, blocks);
    this.kind = kindOf(superblock.features);
    this.label = superblock.label;
    this.uuid = uuidText(superblock.uuid);
    this.lastId = inodesCount;
    this.sizeBytes = blocksCount * blockBytes;
    this.freeBytes = groups.freeBytes;
    this.#source = source;
    this.#superblock = superblock;
    this.#inodes = new InodeTable(superblock, groups, blocks);
    this.#contents = new FileContents(source, blocks, verifiesChecksums, (id) => this.#inodeOf(id, "file"));
    this.#directories = new DirectoryReader(superblock, this.#contents, (id) => this.#inodeOf(id, "directory"));
    this.#attributeContext = {
      blocks,
      checksumSeed,
      verifiesChecksums,
      readValueInode: (id, sizeBytes) => this.#readValueInode(id, sizeBytes),
    };
    this.#usedInodes = () => usedInodes(superblock, groups, blocks);
  }

  attributes(id: number): InodeAttributes | undefined {
    return this.#visibleInode(id)?.attributes;
  }

  entries(directoryId: number): DirectoryEntry[] {
    return this.#directories.read(directoryId).entries.slice();
  }

  lookup(directoryId: number, name: FileName): number | undefined {
    return this.#directories.read(directoryId).ids.get(name);
  }

  parent(directoryId: number): number {
    return this.#directories.read(directoryId).parent;
  }

  symlinkTarget(id: number): FileName {
    const inode = this.#inodeOf(id, "symlink");
    const { sizeBytes } = inode.attributes;
    if (sizeBytes < 1 || sizeBytes > SYMLINK_BYTES_MAX) {
      const why = `a symlink of ${sizeBytes} bytes; expected 1 to ${SYMLINK_BYTES_MAX}`;
      throw new DecodeError(`ext4 inode ${id}`, "i_size (byte 4)", why);
    }
    if (this.#isFastSymlink(inode)) return fileNameFromBytes(inode.blockArea.subarray(0, sizeBytes));
    const bytes = new Uint8Array(sizeBytes);
    this.#contents.readMapSync(this.#contents.mapOf(inode), bytes, 0);
    return fileNameFromBytes(bytes);
  }

  extendedAttributes(id: number): Map<string, Uint8Array> {
    return readExtendedAttributes(this.#inodeOf(id), this.#attributeContext);
  }

  readFileSync(id: number, target: Uint8Array, offset: number): number {
    return this.#contents.readSync(id, target, offset);
  }

  readFileNow(id: number, target: Uint8Array, offset: number): number | undefined {
    return this.#contents.readNow(id, target, offset);
  }

  fileRangeNow(id: number, offset: number, lengthBytes: number): FileRange | undefined {
    return this.#contents.rangeNow(id, offset, lengthBytes);
  }

  readFile(id: number, target: Uint8Array, offset: number): Promise<number> {
    return this.#contents.read(id, target, offset);
  }

  *usedIds(): Iterable<number> {
    for (const id of this.#usedInodes()) if (this.#visibleInode(id) !== undefined) yield id;
  }

  close(): void {
    this.#source.close();
  }

  /** A file of the file system itself, such as its journal: its size, and where a byte of it lies. */
  ownFile(id: number): { sizeBytes: number; sourceOffset(offset: number): number } {
    const inode = this.#inodes.read(id);
    const format = `ext4 inode ${id}`;
    if (inode === undefined) throw new DecodeError(format, "i_mode (byte 0)", "the journal is not there");
    const map = this.#contents.mapOf(inode);
    const { blockBytes } = this.#superblock;
    return {
      sizeBytes: map.sizeBytes,
      sourceOffset(offset) {
        const run = "runs" in map ? map.runs.find(Math.floor(offset / blockBytes)) : undefined;
        if (run === undefined || run.sourceBlock === 0)
          throw new DecodeError(format, `byte ${offset}`, "it has a hole");
        return run.sourceBlock * blockBytes + (offset % blockBytes);
      },
    };
  }

  /** Ids that a directory can lead to: not those that the file system keeps for itself. */
  #visibleInode(id: number): Inode | undefined {
    const { firstInode, ownInodes } = this.#superblock;
    if ((id < firstInode && id !== ROOT_ID) || ownInodes.has(id)) return undefined;
    const inode = this.#inodes.read(id);
    return inode === undefined || (inode.flags & INODE_FLAGS.attributeInode) !== 0 ? undefined : inode;
  }

  #inodeOf(id: number, type?: FileType): Inode {
    const inode = this.#visibleInode(id);
    if (inode === undefined) throw new DecodeError(`ext4 inode ${id}`, "i_links_count (byte 26)", "it is not in use");
    if (type !== undefined && inode.attributes.type !== type) {
      throw new DecodeError(`ext4 inode ${id}`, "i_mode (byte 0)", `it is a ${inode.attributes.type}, not a ${type}`);
    }
    return inode;
  }

  /** Linux tells by the blocks it occupies, less those of its attributes: short targets can lie in a block, too. */
  #isFastSymlink({ attributes, flags, attributeBlock, blockArea }: Inode): boolean {
    if ((flags & INODE_FLAGS.inlineData) !== 0) return false;
    const { blockBytes, clusterBlocks } = this.#superblock;
    const attributeBytes = attributeBlock === 0 ? 0 : blockBytes * clusterBlocks;
    return attributes.sizeBytes < blockArea.length && attributes.usedBytes === attributeBytes;
  }

  #readValueInode(id: number, sizeBytes: number): Uint8Array {
    const format = `ext4 inode ${id}`;
    const inode = this.#inodes.read(id);
    if (inode === undefined || (inode.flags & INODE_FLAGS.attributeInode) === 0) {
      throw new DecodeError(format, "i_flags (byte 32)", "it holds no attribute value, but an attribute points to it");
    }
    if (inode.attributes.sizeBytes !== sizeBytes || sizeBytes > EXTENDED_ATTRIBUTE_BYTES_MAX) {
      throw new DecodeError(format, "i_size (byte 4)", `${inode.attributes.sizeBytes} bytes instead of ${sizeBytes}`);
    }
    const bytes = new Uint8Array(sizeBytes);
    this.#contents.readMapSync(this.#contents.mapOf(inode), bytes, 0);
    return bytes;
  }
}

function uuidText(uuid: Uint8Array): string {
  return Buffer.from(uuid)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
