/**
 * Feature flags of the superblock (Linux Documentation/filesystems/ext4/super.rst). A reader may ignore
 * compatible and read-only-compatible features it does not know; an unknown incompatible one makes the
 * layout unreadable.
 */
import { DecodeError } from "../../bytes/decode-error.ts";

export const COMPATIBLE = {
  hasJournal: 0x4,
  sparseSuper2: 0x200,
  orphanFile: 0x1000,
} as const;

export const INCOMPATIBLE = {
  fileType: 0x2,
  needsRecovery: 0x4,
  journalDevice: 0x8,
  metaBlockGroups: 0x10,
  extents: 0x40,
  bits64: 0x80,
  multipleMountProtection: 0x100,
  flexibleBlockGroups: 0x200,
  attributeInodes: 0x400,
  checksumSeed: 0x2000,
  largeDirectories: 0x4000,
  inlineData: 0x8000,
} as const;

export const READ_ONLY_COMPATIBLE = {
  sparseSuper: 0x1,
  largeFile: 0x2,
  hugeFile: 0x8,
  groupChecksum: 0x10,
  quota: 0x100,
  bigAllocation: 0x200,
  metadataChecksum: 0x400,
} as const;

const INCOMPATIBLE_READABLE = Object.values(INCOMPATIBLE).reduce((all: number, bit) => all | bit, 0);

/** ext2 and ext3 know no others; anything more makes it ext4. */
const INCOMPATIBLE_BEFORE_EXT4 =
  INCOMPATIBLE.fileType | INCOMPATIBLE.needsRecovery | INCOMPATIBLE.journalDevice | INCOMPATIBLE.metaBlockGroups;
const READ_ONLY_BEFORE_EXT4 = READ_ONLY_COMPATIBLE.sparseSuper | READ_ONLY_COMPATIBLE.largeFile | 0x4;

const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x1, "compression (files would need e2compr)"],
  [0x8, "journal_dev (this is the journal of another file system)"],
  [0x1000, "dirdata (Lustre directory entries)"],
  [0x10000, "encrypt (names and contents are encrypted)"],
  [0x20000, "casefold (names match whatever their case)"],
]);

export interface Features {
  compatible: number;
  incompatible: number;
  readOnlyCompatible: number;
}

/** Throws `DecodeError` that names every feature which cannot be read safely. */
export function refuseUnreadable({ incompatible }: Features): void {
  const names = [];
  for (let bit = 0; bit < 32; bit++) {
    const flag = (1 << bit) >>> 0;
    if ((incompatible & flag) === 0) continue;
    const refused = REFUSED.get(flag);
    if (refused !== undefined) names.push(refused);
    else if ((INCOMPATIBLE_READABLE & flag) === 0) names.push(`unknown incompatible feature 0x${flag.toString(16)}`);
  }
  if (names.length > 0) {
    throw new DecodeError(
      "ext4 superblock",
      "s_feature_incompat (byte 96)",
      `the file system uses ${names.join(", ")}; use an image made without`,
    );
  }
}

export function kindOf({ compatible, incompatible, readOnlyCompatible }: Features): "ext2" | "ext3" | "ext4" {
  const isExt4 =
    (incompatible & ~INCOMPATIBLE_BEFORE_EXT4) !== 0 || (readOnlyCompatible & ~READ_ONLY_BEFORE_EXT4) !== 0;
  if (isExt4) return "ext4";
  return (compatible & COMPATIBLE.hasJournal) !== 0 ? "ext3" : "ext2";
}
