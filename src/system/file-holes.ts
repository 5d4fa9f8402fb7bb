/** Where a sparse file has data: `lseek` with SEEK_DATA (lseek(2)), which Node does not offer. */
import koffi from "koffi";

const SEEK_DATA = 3;

const lseek = koffi.load(null).func("int64_t lseek(int fd, int64_t offset, int whence)");

/**
 * The first byte from `offset` on that may not be zero, or `sizeBytes` when a hole reaches up to there.
 * Moves the descriptor's own position. Where holes cannot be told, everything counts as data.
 */
export function nextData(descriptor: number, offset: number, sizeBytes: number): number {
  const found = Number(lseek(descriptor, offset, SEEK_DATA));
  if (found >= 0) return Math.min(found, sizeBytes);
  return koffi.errno() === koffi.os.errno.ENXIO ? sizeBytes : offset;
}
