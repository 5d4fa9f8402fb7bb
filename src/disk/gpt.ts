/**
 * The GUID Partition Table (UEFI Specification 2.10, section 5.3): a header and an array of entries after the
 * protective MBR, both with a CRC-32, and a copy of both at the end of the disk for when the first is damaged.
 */

import { crc32 } from "../bytes/crc32.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { GPT_ENTRIES_BYTES_MAX } from "../limits.ts";
import type { ByteSource } from "../ports.ts";
import { type Partition, type PartitionTable, SECTOR_BYTES } from "./partition.ts";
import { readBytes } from "./sub-source.ts";

const SIGNATURE = "EFI PART";
const HEADER_BYTES_MIN = 92;
const ENTRY_BYTES_MIN = 128;
const HEADER_CRC_OFFSET = 16;
const NAME_BYTES = 72;
const TYPE_UNUSED = "00000000-0000-0000-0000-000000000000";
const ATTRIBUTE_LEGACY_BOOTABLE = 1n << 2n;
/** Byte offsets up to here are exact numbers. */
const SECTORS_MAX = 2n ** 53n / BigInt(SECTOR_BYTES);

/** Reads the first table, or the copy at the end when the first is damaged. */
export function readGpt(source: ByteSource): PartitionTable {
  try {
    return readTable(source, 1);
  } catch (primaryError) {
    if (!(primaryError instanceof DecodeError)) throw primaryError;
    try {
      return readTable(source, Math.floor(source.sizeBytes / SECTOR_BYTES) - 1);
    } catch (backupError) {
      if (!(backupError instanceof DecodeError)) throw backupError;
      throw new DecodeError(
        "GPT",
        primaryError.where,
        `${primaryError.why}; and its backup at ${backupError.where} cannot be used either: ${backupError.why}`,
      );
    }
  }
}

function readTable(source: ByteSource, headerSector: number): PartitionTable {
  const { diskId, entriesSector, entryCount, entryBytes, entriesCrc } = readHeader(source, headerSector);
  const entries = readBytes(source, entriesSector * SECTOR_BYTES, entryCount * entryBytes);
  if (crc32(entries) !== entriesCrc) {
    throw new DecodeError("GPT", `sector ${entriesSector}`, "the checksum of the partition entries is wrong");
  }
  const partitions: Partition[] = [];
  for (let index = 0; index < entryCount; index += 1) {
    const partition = readEntry(entries.subarray(index * entryBytes, (index + 1) * entryBytes), index + 1);
    if (partition !== undefined) partitions.push(partition);
  }
  return { kind: "gpt", diskId, partitions };
}

function readHeader(source: ByteSource, headerSector: number) {
  const at = `sector ${headerSector}`;
  const sector = readBytes(source, headerSector * SECTOR_BYTES, SECTOR_BYTES);
  const reader = new Reader(sector, `GPT header in ${at}`);
  const signature = Buffer.from(reader.bytes(8, "signature")).toString("latin1");
  if (signature !== SIGNATURE) throw new DecodeError("GPT", at, "there is no header");
  reader.skip(4, "revision");
  const headerBytes = reader.u32LE("header size");
  if (headerBytes < HEADER_BYTES_MIN || headerBytes > SECTOR_BYTES) {
    throw reader.error("header size", `${headerBytes} bytes; expected ${HEADER_BYTES_MIN} to ${SECTOR_BYTES}`);
  }
  const headerCrc = reader.u32LE("header checksum");
  const checked = sector.slice(0, headerBytes);
  checked.fill(0, HEADER_CRC_OFFSET, HEADER_CRC_OFFSET + 4);
  if (crc32(checked) !== headerCrc) throw new DecodeError("GPT", at, "the checksum of the header is wrong");
  reader.skip(36, "reserved to last usable sector");
  const diskId = guid(reader.bytes(16, "disk GUID"));
  const entriesSector = sectorNumber(reader, "first sector of the entries");
  const entryCount = reader.u32LE("number of entries");
  const entryBytes = reader.u32LE("size of an entry");
  const entriesCrc = reader.u32LE("checksum of the entries");
  if (entryBytes < ENTRY_BYTES_MIN || entryCount * entryBytes > GPT_ENTRIES_BYTES_MAX) {
    throw reader.error("entries", `${entryCount} entries of ${entryBytes} bytes make no sense`);
  }
  return { diskId, entriesSector, entryCount, entryBytes, entriesCrc };
}

function readEntry(bytes: Uint8Array, number: number): Partition | undefined {
  const reader = new Reader(bytes, `GPT entry ${number}`);
  const type = guid(reader.bytes(16, "type"));
  if (type === TYPE_UNUSED) return undefined;
  const partUuid = guid(reader.bytes(16, "GUID"));
  const firstSector = sectorNumber(reader, "first sector");
  const lastSector = sectorNumber(reader, "last sector");
  if (lastSector < firstSector) throw reader.error("last sector", `${lastSector} is before the first, ${firstSector}`);
  const bootable = (reader.u64LE("attributes") & ATTRIBUTE_LEGACY_BOOTABLE) !== 0n;
  const name = Buffer.from(reader.bytes(NAME_BYTES, "name")).toString("utf16le").split("\0", 1)[0] ?? "";
  return {
    number,
    startByte: firstSector * SECTOR_BYTES,
    sizeBytes: (lastSector - firstSector + 1) * SECTOR_BYTES,
    type,
    bootable,
    partUuid,
    name,
  };
}

function sectorNumber(reader: Reader, field: string): number {
  const value = reader.u64LE(field);
  if (value >= SECTORS_MAX) throw reader.error(field, `${value} is beyond any disk`);
  return Number(value);
}

/** The first three groups are stored little-endian. */
function guid(bytes: Uint8Array): string {
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  const digits = order.map((index) => (bytes[index] ?? 0).toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
