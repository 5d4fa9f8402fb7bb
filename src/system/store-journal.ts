/**
 * The format of a write-ahead journal of the key-value store, ours, and the order in which its file is written. What it
 * promises is in docs/STORAGE.md.
 *
 * The file is two halves of the same size. A half is records one after another from its beginning; each is
 *
 *      0  magic "BJrn"                      16  number of the record, the next of the one before (48 bits)
 *      4  bytes of the body (32)            22  zero (16)
 *      8  generation (8 bytes)              24  CRC-32 of bytes 0 to 23 and the body (32)
 *
 * and a body of changes: bytes of the key (16), bytes of the value + 1, 0 for a removal (32), key, value. Numbers are
 * big-endian. All records of a half have the generation of its first, random bytes drawn when the half is begun: neither
 * old records after the newest, nor contents of files that look like records, are ever taken for one.
 */
import { crc32 } from "../bytes/crc32.ts";
import type { Random } from "../ports.ts";
import { type Change, textOf } from "./pending-changes.ts";
import { CHANGE_HEAD_BYTES, sizeOf } from "./write-queue.ts";

const MAGIC = Buffer.from("BJrn");
const GENERATION_BYTES = 8;
const CHECKED_HEAD_BYTES = 24;
export const RECORD_HEAD_BYTES = 28;

/** Where a journal lies. */
export interface JournalFile {
  /** Resolves when the bytes survive a power cut. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  close(): Promise<void>;
}

export interface StoreJournalOptions {
  file: JournalFile;
  /** Of the file; half of it is the most that one record can be. */
  sizeBytes: number;
  random: Random;
  /** Number of the last record that was applied to the database: all, when a journal is opened. */
  appliedNumber: number;
}

interface Half {
  generation: Uint8Array;
  usedBytes: number;
  /** 0: none since the journal was opened. */
  lastNumber: number;
}

export class StoreJournal {
  readonly #file: JournalFile;
  readonly #random: Random;
  readonly #halfBytes: number;
  readonly #halves: readonly [Half, Half];
  #current: 0 | 1 = 0;
  #lastNumber: number;
  #failedNumber = 0;
  #appliedNumber: number;

  constructor({ file, sizeBytes, random, appliedNumber }: StoreJournalOptions) {
    this.#file = file;
    this.#random = random;
    this.#halfBytes = sizeBytes / 2;
    this.#lastNumber = appliedNumber;
    this.#appliedNumber = appliedNumber;
    this.#halves = [this.#emptyHalf(), this.#emptyHalf()];
  }

  #emptyHalf(): Half {
    return { generation: this.#random.bytes(GENERATION_BYTES), usedBytes: 0, lastNumber: 0 };
  }

  /** The most bytes of changes (`sizeOf`) that a record takes. */
  get bodyBytesMax(): number {
    return this.#halfBytes - RECORD_HEAD_BYTES;
  }

  /** False: everything up to the last number must be applied first. */
  canTake(changes: readonly Change[]): boolean {
    if (this.#failedNumber > this.#appliedNumber) return false;
    const neededBytes = RECORD_HEAD_BYTES + sizeOf(changes);
    return this.#fits(neededBytes) || this.#isFree(this.#other) || this.#isFree(this.#current);
  }

  #fits(neededBytes: number): boolean {
    return this.#halves[this.#current].usedBytes + neededBytes <= this.#halfBytes;
  }

  #isFree(half: 0 | 1): boolean {
    return this.#halves[half].lastNumber <= this.#appliedNumber;
  }

  get #other(): 0 | 1 {
    return this.#current === 0 ? 1 : 0;
  }

  /** Of the last record, also of one that could not be written. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /**
   * Resolves when the record is durable. One at a time, and only what it can take. When it rejects, the record may be on
   * disk or not: its number must be `applied` before the next.
   */
  async append(changes: readonly Change[]): Promise<void> {
    if (!this.#fits(RECORD_HEAD_BYTES + sizeOf(changes))) {
      this.#begin(this.#isFree(this.#other) ? this.#other : this.#current);
    }
    const half = this.#halves[this.#current];
    this.#lastNumber += 1;
    const record = encodeRecord(changes, this.#lastNumber, half.generation);
    try {
      await this.#file.write(record, this.#current * this.#halfBytes + half.usedBytes);
    } catch (error) {
      this.#failedNumber = this.#lastNumber;
      // The next record begins a half: within one, numbers follow one another.
      half.usedBytes = this.#halfBytes;
      throw error;
    }
    half.usedBytes += record.length;
    half.lastNumber = this.#lastNumber;
  }

  #begin(half: 0 | 1): void {
    this.#current = half;
    Object.assign(this.#halves[half], this.#emptyHalf());
  }

  /** Everything up to this record is in the database, durably. Its place may be used again. */
  applied(number: number): void {
    this.#appliedNumber = number;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function encodeRecord(changes: readonly Change[], number: number, generation: Uint8Array): Uint8Array {
  const bodyBytes = sizeOf(changes);
  const record = Buffer.allocUnsafe(RECORD_HEAD_BYTES + bodyBytes);
  record.set(MAGIC, 0);
  record.writeUInt32BE(bodyBytes, 4);
  record.set(generation, 8);
  record.writeUIntBE(number, 16, 6);
  record.writeUInt16BE(0, 22);
  let at = RECORD_HEAD_BYTES;
  for (const { key, value } of changes) {
    record.writeUInt16BE(key.length, at);
    record.writeUInt32BE(value === undefined ? 0 : value.length + 1, at + 2);
    record.set(key, at + CHANGE_HEAD_BYTES);
    at += CHANGE_HEAD_BYTES + key.length;
    if (value === undefined) continue;
    record.set(value, at);
    at += value.length;
  }
  record.writeUInt32BE(checksumOf(record), CHECKED_HEAD_BYTES);
  return record;
}

function checksumOf(record: Uint8Array): number {
  return crc32(record.subarray(RECORD_HEAD_BYTES), crc32(record.subarray(0, CHECKED_HEAD_BYTES)));
}

export interface JournalRecord {
  number: number;
  changes: Change[];
}

/**
 * The records of a journal's file above `appliedNumber`, oldest first. Throws when one is missing before others: the file
 * was damaged, not cut; that cannot be told of the first of a half. Bytes of any kind give records that were written, or none.
 */
export function journalRecords(file: Uint8Array, appliedNumber: number, name: string): JournalRecord[] {
  const halfBytes = Math.floor(file.length / 2);
  const halves = [file.subarray(0, halfBytes), file.subarray(halfBytes)].map(recordsOfHalf);
  const records = halves.flat().filter(({ number }) => number > appliedNumber);
  records.sort((one, other) => one.number - other.number);
  for (const [index, { number }] of records.entries()) {
    const expected = appliedNumber + 1 + index;
    if (number === expected) continue;
    throw new Error(
      `Cannot read the journal ${name}: record ${expected} is damaged and later ones are there; to go on without what ` +
        "nodes wrote in the last second before the manager ended, remove the file",
    );
  }
  return records;
}

/** Also those behind damaged ones: so it is known that something is missing. */
function recordsOfHalf(bytes: Uint8Array): JournalRecord[] {
  const half = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const generation = half.subarray(8, 8 + GENERATION_BYTES);
  const records: JournalRecord[] = [];
  for (let at = 0; at >= 0 && at + RECORD_HEAD_BYTES <= half.length; ) {
    const record = recordAt(half, at, generation);
    if (record === undefined) {
      at = half.indexOf(MAGIC, at + 1);
      continue;
    }
    records.push({ number: record.readUIntBE(16, 6), changes: decodeChanges(record.subarray(RECORD_HEAD_BYTES)) });
    at += record.length;
  }
  return records;
}

function recordAt(half: Buffer, at: number, generation: Buffer): Buffer | undefined {
  const sizeBytes = RECORD_HEAD_BYTES + half.readUInt32BE(at + 4);
  const record = half.subarray(at, at + sizeBytes);
  const isOurs =
    record.length === sizeBytes &&
    record.subarray(0, 4).equals(MAGIC) &&
    record.subarray(8, 8 + GENERATION_BYTES).equals(generation) &&
    record.readUInt32BE(CHECKED_HEAD_BYTES) === checksumOf(record);
  return isOurs ? record : undefined;
}

/** The checksum was right: this is what was written. */
function decodeChanges(body: Buffer): Change[] {
  const changes: Change[] = [];
  for (let at = 0; at < body.length; ) {
    const keyEnd = at + CHANGE_HEAD_BYTES + body.readUInt16BE(at);
    const valueBytes = body.readUInt32BE(at + 2) - 1;
    const key = body.subarray(at + CHANGE_HEAD_BYTES, keyEnd);
    const valueEnd = keyEnd + Math.max(0, valueBytes);
    changes.push({ key, text: textOf(key), value: valueBytes < 0 ? undefined : body.subarray(keyEnd, valueEnd) });
    at = valueEnd;
  }
  return changes;
}
