/**
 * Directory entries (Microsoft FAT specification 1.03, sections 6 and 7): 32 bytes with an 8.3 name, preceded by
 * up to 20 more that hold the long name in UTF-16. Short names are shown as Linux shows them (`vfat` with its
 * default `shortname=mixed`): code page 437, lower case where Windows NT's flags say so.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileName, fileNameFromText } from "../../bytes/file-name.ts";
import { Reader } from "../../bytes/reader.ts";
import { FILE_NAME_BYTES_MAX } from "../../limits.ts";
import { DIRECTORY_ENTRY_BYTES } from "./boot-sector.ts";

export interface FatDirectoryEntry {
  /** Which of the directory's 32-byte entries holds the 8.3 name. */
  index: number;
  name: FileName;
  /** The 8.3 name as text; a file can be opened by it too. */
  shortName: string;
  isDirectory: boolean;
  /** 0 for an empty file, and for a `..` that leads to the root. */
  firstCluster: number;
  sizeBytes: number;
  mtimeNs: bigint;
  atimeNs: bigint;
}

const ATTRIBUTE_VOLUME_LABEL = 0x08;
const ATTRIBUTE_DIRECTORY = 0x10;
const ATTRIBUTES_LONG_NAME = 0x0f;
const ATTRIBUTES_MASK = 0x3f;

const FREE_TO_END = 0x00;
const FREE = 0xe5;
/** Stands for a first byte that really is 0xe5. */
const ESCAPED_E5 = 0x05;

const BASE_BYTES = 8;
const NT_LOWER_BASE = 0x08;
const NT_LOWER_EXTENSION = 0x10;

const LAST_LONG_ENTRY = 0x40;
const LONG_ENTRY_NUMBER_MASK = 0x3f;
const LONG_ENTRIES_MAX = 20;
/** Byte ranges of the 13 UTF-16 characters in one long-name entry. */
const LONG_NAME_RANGES = [
  [1, 11],
  [14, 26],
  [28, 32],
] as const;

/** The upper half of code page 437, which Linux mounts with unless told otherwise. */
const CODE_PAGE_437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** Files and directories in on-disk order, without `.` and `..`; and the volume label, if it is here. */
export function readDirectory(bytes: Uint8Array, what: string): { entries: FatDirectoryEntry[]; label?: string } {
  const entries: FatDirectoryEntry[] = [];
  let label: string | undefined;
  let longName = new LongNameParts();

  for (let index = 0; (index + 1) * DIRECTORY_ENTRY_BYTES <= bytes.length; index += 1) {
    const entry = bytes.subarray(index * DIRECTORY_ENTRY_BYTES, (index + 1) * DIRECTORY_ENTRY_BYTES);
    const firstByte = entry[0] ?? FREE_TO_END;
    if (firstByte === FREE_TO_END) break;
    const attributes = (entry[11] ?? 0) & ATTRIBUTES_MASK;
    if (firstByte !== FREE && attributes === ATTRIBUTES_LONG_NAME) {
      longName.add(entry);
      continue;
    }
    const long = longName.take(entry);
    longName = new LongNameParts();
    if (firstByte === FREE) continue;
    if (attributes & ATTRIBUTE_VOLUME_LABEL) label ??= codePage437(entry.subarray(0, 11)).trimEnd();
    else if (firstByte !== ".".charCodeAt(0)) entries.push(decodeEntry(entry, index, long, what));
  }
  return label === undefined ? { entries } : { entries, label };
}

function decodeEntry(bytes: Uint8Array, index: number, longName: string | undefined, what: string): FatDirectoryEntry {
  const reader = new Reader(bytes, `${what}, entry ${index}`);
  const nameBytes = reader.bytes(11, "name");
  const attributes = reader.u8("attributes");
  const ntCase = reader.u8("lower-case flags");
  reader.skip(5, "creation time");
  const accessDate = reader.u16LE("access date");
  const clusterHigh = reader.u16LE("first cluster, high half");
  const writeTime = reader.u16LE("write time");
  const writeDate = reader.u16LE("write date");
  const clusterLow = reader.u16LE("first cluster, low half");
  const isDirectory = (attributes & ATTRIBUTE_DIRECTORY) !== 0;
  const shortName = decodeShortName(nameBytes, 0);
  return {
    index,
    name: checkedName(longName, decodeShortName(nameBytes, ntCase), what),
    shortName,
    isDirectory,
    firstCluster: clusterHigh * 65536 + clusterLow,
    sizeBytes: reader.u32LE("size"),
    mtimeNs: timeNs(writeDate, writeTime),
    atimeNs: timeNs(accessDate, 0),
  };
}

/** A long name that is too long in UTF-8 gives way to the short one; names that could lead elsewhere are damage. */
function checkedName(longName: string | undefined, shortName: string, what: string): FileName {
  const long = longName && fileNameFromText(longName);
  const name = long && long.length <= FILE_NAME_BYTES_MAX ? long : fileNameFromText(shortName);
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    throw new DecodeError("FAT directory", what, `${JSON.stringify(name)} cannot be the name of a file`);
  }
  return name;
}

function decodeShortName(bytes: Uint8Array, ntCase: number): string {
  const raw = Uint8Array.from(bytes);
  if (raw[0] === ESCAPED_E5) raw[0] = FREE;
  const part = (from: number, to: number, lower: boolean): string => {
    const text = codePage437(raw.subarray(from, to)).replace(/ +$/, "");
    return lower ? lowerCase437(text) : text;
  };
  const base = part(0, BASE_BYTES, (ntCase & NT_LOWER_BASE) !== 0);
  const extension = part(BASE_BYTES, raw.length, (ntCase & NT_LOWER_EXTENSION) !== 0);
  return extension === "" ? base : `${base}.${extension}`;
}

function codePage437(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : CODE_PAGE_437[byte - 0x80])).join("");
}

/** Only letters whose lower-case form is in the code page too have one. */
function lowerCase437(text: string): string {
  return Array.from(text, (character) => {
    const lower = character.toLowerCase();
    return lower < "\x80" || CODE_PAGE_437.includes(lower) ? lower : character;
  }).join("");
}

/** Dates count from 1980, times in steps of two seconds. They are local times of an unknown place: taken as UTC. */
function timeNs(date: number, time: number): bigint {
  const year = 1980 + (date >> 9);
  const month = Math.max(1, (date >> 5) & 0x0f);
  const day = Math.max(1, date & 0x1f);
  const unixMs = Date.UTC(year, month - 1, day, time >> 11, (time >> 5) & 0x3f, (time & 0x1f) * 2);
  return BigInt(unixMs) * 1_000_000n;
}

/** Collects the entries of one long name: last part first, all with the checksum of the 8.3 name they belong to. */
class LongNameParts {
  #parts: string[] = [];
  #nextNumber = 0;
  #checksum = -1;

  add(entry: Uint8Array): void {
    const order = entry[0] ?? 0;
    const number = order & LONG_ENTRY_NUMBER_MASK;
    const checksum = entry[13] ?? 0;
    if (order & LAST_LONG_ENTRY && number >= 1 && number <= LONG_ENTRIES_MAX) {
      this.#parts = [];
      this.#checksum = checksum;
    } else if (number !== this.#nextNumber || checksum !== this.#checksum) {
      this.#checksum = -1;
    }
    this.#nextNumber = number - 1;
    const text = LONG_NAME_RANGES.map(([from, to]) => Buffer.from(entry.subarray(from, to)).toString("utf16le"));
    this.#parts.unshift(text.join(""));
  }

  /** The name, if all parts were there and belong to this 8.3 entry. */
  take(entry: Uint8Array): string | undefined {
    const isWhole = this.#parts.length > 0 && this.#nextNumber === 0;
    if (!isWhole || this.#checksum !== shortNameChecksum(entry.subarray(0, 11))) return undefined;
    return this.#parts.join("").split("\0", 1)[0] || undefined;
  }
}

/** Section 7.2: rotate right, add. */
function shortNameChecksum(name: Uint8Array): number {
  return name.reduce((sum, byte) => (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff, 0);
}
