/** Which container a downloaded image comes in, told by its first bytes: suffixes are often wrong or missing. */

export type Container = "raw" | "xz" | "gzip" | "zstd" | "zip";

const MAGIC: readonly { container: Container; bytes: readonly number[] }[] = [
  { container: "xz", bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { container: "gzip", bytes: [0x1f, 0x8b, 0x08] },
  { container: "zstd", bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { container: "zip", bytes: [0x50, 0x4b, 0x03, 0x04] },
  // A zip without any file has only the end of its directory.
  { container: "zip", bytes: [0x50, 0x4b, 0x05, 0x06] },
];

/** How many bytes `containerOf` needs to see. */
export const CONTAINER_MAGIC_BYTES = 6;

/** Anything that is no known container is taken for the disk itself. */
export function containerOf(firstBytes: Uint8Array): Container {
  const isPrefix = (bytes: readonly number[]): boolean => bytes.every((byte, index) => firstBytes[index] === byte);
  return MAGIC.find(({ bytes }) => isPrefix(bytes))?.container ?? "raw";
}
