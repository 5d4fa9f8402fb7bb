const POLYNOMIAL_REVERSED = 0xedb88320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL_REVERSED : remainder >>> 1;
  }
  return remainder;
});

/** CRC-32 as in IEEE 802.3, gzip, zip and UEFI (ISO 3309). `previous`: the checksum of the bytes before these. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}
