/**
 * Names what a partition holds by the magic number it carries, for messages. Left out: everything that cannot
 * be told by a fixed number at a fixed place.
 */
import type { ByteSource } from "../ports.ts";

const SIGNATURES: readonly { name: string; offset: number; bytes: readonly number[] }[] = [
  { name: "ext2, ext3 or ext4", offset: 1024 + 56, bytes: [0x53, 0xef] },
  { name: "squashfs", offset: 0, bytes: ascii("hsqs") },
  { name: "btrfs", offset: 0x10040, bytes: ascii("_BHRfS_M") },
  { name: "f2fs", offset: 1024, bytes: [0x10, 0x20, 0xf5, 0xf2] },
  { name: "xfs", offset: 0, bytes: ascii("XFSB") },
  { name: "erofs", offset: 1024, bytes: [0xe2, 0xe1, 0xf5, 0xe0] },
  { name: "a LUKS encrypted volume", offset: 0, bytes: [...ascii("LUKS"), 0xba, 0xbe] },
  { name: "an LVM physical volume", offset: 512, bytes: ascii("LABELONE") },
  { name: "swap space", offset: 4096 - 10, bytes: ascii("SWAPSPACE2") },
  { name: "ISO 9660", offset: 0x8001, bytes: ascii("CD001") },
  { name: "NTFS", offset: 3, bytes: ascii("NTFS    ") },
  { name: "exFAT", offset: 3, bytes: ascii("EXFAT   ") },
  { name: "FAT", offset: 82, bytes: ascii("FAT32   ") },
  { name: "FAT", offset: 54, bytes: ascii("FAT") },
];

/** A name for people, as `squashfs`; `undefined` when nothing known is found. */
export function describeFileSystem(source: ByteSource): string | undefined {
  return SIGNATURES.find(({ offset, bytes }) => {
    if (offset + bytes.length > source.sizeBytes) return false;
    const found = new Uint8Array(bytes.length);
    source.readSync(found, offset);
    return bytes.every((byte, index) => found[index] === byte);
  })?.name;
}

function ascii(text: string): number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}
