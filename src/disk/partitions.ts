/**
 * Partition tables of disk images: MBR with its extended partitions, and GPT (UEFI Specification 2.10, section 5).
 * Left out: BSD and other labels nested inside a partition.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { LOGICAL_PARTITIONS_MAX } from "../limits.ts";
import type { ByteSource } from "../ports.ts";
import { readGpt } from "./gpt.ts";
import { type Partition, type PartitionTable, SECTOR_BYTES } from "./partition.ts";
import { readBytes } from "./sub-source.ts";

const MBR_ENTRIES_OFFSET = 446;
const MBR_DISK_ID_OFFSET = 440;
const MBR_SIGNATURE_OFFSET = 510;
const MBR_SIGNATURE = 0xaa55;
const TYPE_EMPTY = 0x00;
const TYPE_PROTECTIVE_GPT = 0xee;
const TYPES_EXTENDED: readonly number[] = [0x05, 0x0f, 0x85];

interface MbrEntry {
  status: number;
  type: number;
  startSector: number;
  sectors: number;
}

/** Throws `DecodeError` when the source has no valid table, or a partition reaches past its end. */
export function readPartitions(source: ByteSource): PartitionTable {
  if (source.sizeBytes === 0) throw new DecodeError("disk image", "byte 0", "the file is empty");
  if (source.sizeBytes < SECTOR_BYTES) {
    throw new DecodeError("disk image", "byte 0", `the file has only ${source.sizeBytes} bytes`);
  }
  const sector = readBytes(source, 0, SECTOR_BYTES);
  const entries = mbrEntries(sector, "MBR");
  const table = entries.some((entry) => entry.type === TYPE_PROTECTIVE_GPT)
    ? readGpt(source)
    : readMbr(source, sector, entries);
  for (const partition of table.partitions) checkInside(partition, source.sizeBytes);
  return table;
}

function checkInside({ number, startByte, sizeBytes }: Partition, imageBytes: number): void {
  if (startByte + sizeBytes <= imageBytes) return;
  throw new DecodeError(
    "disk image",
    `partition ${number}`,
    `the image is truncated: it has ${imageBytes} bytes, and the partition ends at byte ${startByte + sizeBytes}; ` +
      "download or copy it again",
  );
}

function readMbr(source: ByteSource, sector: Uint8Array, entries: MbrEntry[]): PartitionTable {
  const diskNumber = new Reader(sector, "MBR", MBR_DISK_ID_OFFSET).u32LE("disk id");
  const diskId = diskNumber.toString(16).padStart(8, "0");
  const partition = (number: number, entry: MbrEntry, startSector: number): Partition => ({
    number,
    startByte: startSector * SECTOR_BYTES,
    sizeBytes: entry.sectors * SECTOR_BYTES,
    type: `0x${entry.type.toString(16).padStart(2, "0")}`,
    bootable: entry.status === 0x80,
    partUuid: `${diskId}-${number.toString(16).padStart(2, "0")}`,
  });

  const partitions: Partition[] = [];
  const logical: Partition[] = [];
  entries.forEach((entry, index) => {
    if (isUnused(entry)) return;
    if (!TYPES_EXTENDED.includes(entry.type)) {
      partitions.push(partition(index + 1, entry, entry.startSector));
      return;
    }
    for (const { entry: inner, startSector } of logicalEntries(source, entry.startSector)) {
      logical.push(partition(5 + logical.length, inner, startSector));
    }
  });
  return { kind: "mbr", diskId, partitions: [...partitions, ...logical] };
}

/**
 * An extended partition is a list of boot records: the first entry of each is a logical partition (counted from
 * that record), the next one tells where the following record is (counted from the start of the whole).
 */
function* logicalEntries(
  source: ByteSource,
  extendedStart: number,
): Generator<{ entry: MbrEntry; startSector: number }> {
  let recordSector: number | undefined = extendedStart;
  for (let count = 0; recordSector !== undefined; count += 1) {
    if (count === LOGICAL_PARTITIONS_MAX) {
      throw new DecodeError("extended partition", `sector ${recordSector}`, "its list of partitions does not end");
    }
    const record: Uint8Array = readBytes(source, recordSector * SECTOR_BYTES, SECTOR_BYTES);
    const entries: MbrEntry[] = mbrEntries(record, `extended partition record in sector ${recordSector}`);
    const here: number = recordSector;
    recordSector = undefined;
    for (const entry of entries.filter((candidate) => !isUnused(candidate))) {
      if (TYPES_EXTENDED.includes(entry.type)) recordSector ??= extendedStart + entry.startSector;
      else yield { entry, startSector: here + entry.startSector };
    }
  }
}

function isUnused(entry: MbrEntry): boolean {
  return entry.type === TYPE_EMPTY || entry.sectors === 0;
}

function mbrEntries(sector: Uint8Array, format: string): MbrEntry[] {
  const signature = new Reader(sector, format, MBR_SIGNATURE_OFFSET).u16LE("signature");
  if (signature !== MBR_SIGNATURE) {
    throw new DecodeError(
      format,
      `byte ${MBR_SIGNATURE_OFFSET}`,
      "it has no boot signature (55 aa), so this is no disk image",
    );
  }
  const reader = new Reader(sector, format, MBR_ENTRIES_OFFSET);
  return Array.from({ length: 4 }, () => {
    const status = reader.u8("status");
    if ((status & 0x7f) !== 0) {
      throw reader.error(
        "status",
        `0x${status.toString(16)} is not a partition entry; this is a boot sector, not a disk image`,
      );
    }
    reader.skip(3, "first cylinder, head, sector");
    const type = reader.u8("type");
    reader.skip(3, "last cylinder, head, sector");
    return { status, type, startSector: reader.u32LE("start"), sectors: reader.u32LE("size") };
  });
}
