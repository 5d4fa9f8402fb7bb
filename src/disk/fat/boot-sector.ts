/**
 * The first sector of a FAT volume: the BIOS parameter block (Microsoft FAT specification 1.03, section 3.1-3.3).
 * Left out: the FSInfo sector (its counts are only hints) and the backup boot sector.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { Reader } from "../../bytes/reader.ts";
import { FAT_TABLE_BYTES_MAX } from "../../limits.ts";
import type { ByteSource } from "../../ports.ts";
import { readBytes } from "../sub-source.ts";

export type FatKind = "fat12" | "fat16" | "fat32";

/** Clusters are numbered from 2. */
export const FIRST_CLUSTER = 2;
export const DIRECTORY_ENTRY_BYTES = 32;

/** Where everything is in the volume, in bytes from its start. */
export interface FatLayout {
  kind: FatKind;
  tableByte: number;
  tableBytes: number;
  /** FAT12 and FAT16 have a root directory of fixed size; on FAT32 it is a chain of clusters. */
  root: { startByte: number; sizeBytes: number } | { cluster: number };
  dataByte: number;
  clusterBytes: number;
  clusterCount: number;
  /** From the boot sector; the entry in the root directory counts more. */
  label: string;
  /** As `blkid` writes it: `1A2B-3C4D`. */
  uuid: string;
}

const BOOT_SECTOR_BYTES = 512;
/** Largest cluster counts of FAT12 and FAT16, section 3.5. */
const FAT12_CLUSTERS_MAX = 4084;
const FAT16_CLUSTERS_MAX = 65524;
const EXTENDED_SIGNATURES: readonly number[] = [0x28, 0x29];
const ENTRY_BITS = { fat12: 12, fat16: 16, fat32: 32 } as const;

export function readFatLayout(source: ByteSource): FatLayout {
  const reader = new Reader(readBytes(source, 0, BOOT_SECTOR_BYTES), "FAT boot sector");
  reader.skip(11, "jump and OEM name");
  const sectorBytes = reader.u16LE("bytes per sector");
  if (!isPowerOfTwo(sectorBytes) || sectorBytes < 512 || sectorBytes > 4096) {
    throw reader.error("bytes per sector", `${sectorBytes}; expected 512, 1024, 2048 or 4096`);
  }
  const clusterSectors = reader.u8("sectors per cluster");
  if (!isPowerOfTwo(clusterSectors)) throw reader.error("sectors per cluster", `${clusterSectors} is no power of two`);
  const reservedSectors = reader.u16LE("reserved sectors");
  const tableCount = reader.u8("number of FATs");
  if (reservedSectors === 0 || tableCount === 0) throw reader.error("reserved sectors and FATs", "neither may be 0");
  const rootEntries = reader.u16LE("root entries");
  const totalSectors16 = reader.u16LE("total sectors (16 bits)");
  reader.skip(1, "media");
  const tableSectors16 = reader.u16LE("sectors per FAT (16 bits)");
  reader.skip(8, "sectors per track, heads, hidden sectors");
  const totalSectors = totalSectors16 || reader.u32LE("total sectors");
  if (totalSectors16 !== 0) reader.skip(4, "total sectors");

  // The same test as in the Linux driver: only FAT32 has no 16-bit table size.
  const isFat32 = tableSectors16 === 0;
  const tableSectors = isFat32 ? reader.u32LE("sectors per FAT") : tableSectors16;
  const rootCluster = isFat32 ? readRootCluster(reader) : undefined;
  const { label, uuid } = readIdentity(reader);

  const tableByte = reservedSectors * sectorBytes;
  const rootByte = tableByte + tableCount * tableSectors * sectorBytes;
  const rootSectors = Math.ceil((rootEntries * DIRECTORY_ENTRY_BYTES) / sectorBytes);
  const dataByte = rootByte + rootSectors * sectorBytes;
  const volumeBytes = totalSectors * sectorBytes;
  if (volumeBytes > source.sizeBytes) {
    throw new DecodeError(
      "FAT volume",
      "total sectors",
      `it is truncated: ${volumeBytes} bytes are announced, and there are ${source.sizeBytes}`,
    );
  }
  const clusterBytes = clusterSectors * sectorBytes;
  const dataClusters = Math.floor((volumeBytes - dataByte) / clusterBytes);
  if (dataClusters < 1) throw new DecodeError("FAT volume", "total sectors", "there is no room for any data");
  const kind = isFat32 ? "fat32" : dataClusters <= FAT12_CLUSTERS_MAX ? "fat12" : "fat16";
  if (kind === "fat16" && dataClusters > FAT16_CLUSTERS_MAX) {
    throw new DecodeError("FAT volume", "total sectors", `${dataClusters} clusters are too many for FAT16`);
  }
  const tableBytes = tableSectors * sectorBytes;
  if (tableBytes > FAT_TABLE_BYTES_MAX) {
    throw new DecodeError(
      "FAT volume",
      "sectors per FAT",
      `a table of ${tableBytes} bytes is larger than any boot partition's`,
    );
  }
  const tableEntries = Math.floor((tableBytes * 8) / ENTRY_BITS[kind]);
  const clusterCount = Math.min(dataClusters, tableEntries - FIRST_CLUSTER);
  if (clusterCount < 1) throw new DecodeError("FAT volume", "sectors per FAT", "the table has no room for any cluster");
  return {
    kind,
    tableByte,
    tableBytes,
    root:
      rootCluster === undefined
        ? { startByte: rootByte, sizeBytes: rootEntries * DIRECTORY_ENTRY_BYTES }
        : { cluster: rootCluster },
    dataByte,
    clusterBytes,
    clusterCount,
    label,
    uuid,
  };
}

function readRootCluster(reader: Reader): number {
  reader.skip(4, "flags and version");
  const rootCluster = reader.u32LE("root cluster");
  reader.skip(16, "FSInfo, backup boot sector, reserved");
  return rootCluster;
}

/** The extended boot record, which stands at another place on FAT32 but has the same fields. */
function readIdentity(reader: Reader): { label: string; uuid: string } {
  reader.skip(2, "drive number");
  const hasIdentity = EXTENDED_SIGNATURES.includes(reader.u8("extended boot signature"));
  if (!hasIdentity) return { label: "", uuid: "" };
  const serial = reader.u32LE("volume serial number").toString(16).toUpperCase().padStart(8, "0");
  const label = Buffer.from(reader.bytes(11, "label")).toString("latin1").trimEnd();
  return { label: label === "NO NAME" ? "" : label, uuid: `${serial.slice(0, 4)}-${serial.slice(4)}` };
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
