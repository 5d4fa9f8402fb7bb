/**
 * The three sums that ext4 and its journal use. None of them inverts its result: on disk stands the register
 * itself, and a sum over several pieces is continued by passing the last value on.
 */
import { DecodeError } from "../../bytes/decode-error.ts";

const CRC32C_TABLE = reflectedTable(0x82f63b78);
const CRC16_TABLE = reflectedTable(0xa001);
const CRC32_BE_TABLE = forwardTable(0x04c11db7);

function reflectedTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value;
  });
}

function forwardTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte << 24;
    for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ polynomial : value << 1;
    return value;
  });
}

/** CRC-32C (Castagnoli): `metadata_csum`, `metadata_csum_seed`, journal checksums v2 and v3. */
export function crc32c(seed: number, bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = seed;
  for (let at = from; at < to; at++) sum = CRC32C_TABLE[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return sum >>> 0;
}

/** Continues a CRC-32C over `countBytes` zeros: a checksum field counts as zero in its own sum. */
export function crc32cZeros(seed: number, countBytes: number): number {
  let sum = seed;
  for (let count = 0; count < countBytes; count++) sum = CRC32C_TABLE[sum & 0xff]! ^ (sum >>> 8);
  return sum >>> 0;
}

/** Continues a CRC-32C over one little-endian 32-bit number. */
export function crc32cU32(seed: number, value: number): number {
  let sum = seed ^ value;
  for (let byte = 0; byte < 4; byte++) sum = CRC32C_TABLE[sum & 0xff]! ^ (sum >>> 8);
  return sum >>> 0;
}

/** CRC-16 (IBM, reflected): group descriptors under `uninit_bg`. */
export function crc16(seed: number, bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = seed;
  for (let at = from; at < to; at++) sum = CRC16_TABLE[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return sum & 0xffff;
}

/** CRC-32 of the Ethernet polynomial, most significant bit first: journal checksums v1. */
export function crc32BigEndian(seed: number, bytes: Uint8Array): number {
  let sum = seed;
  for (const byte of bytes) sum = CRC32_BE_TABLE[(sum >>> 24) ^ byte]! ^ (sum << 8);
  return sum >>> 0;
}

/** Throws `DecodeError` unless the stored sum is the computed one. */
export function verifyChecksum(format: string, field: string, stored: number, computed: number): void {
  if (stored === computed) return;
  const why = `it is 0x${stored.toString(16)}, but the contents give 0x${computed.toString(16)}; the image is damaged`;
  throw new DecodeError(format, field, why);
}
