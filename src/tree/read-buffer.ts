/**
 * The buffer for reads that are answered at once, used again for each: the pages of new memory would cost more than
 * what is read into them.
 */
import { NFS_TRANSFER_BYTES_MAX } from "../limits.ts";

let reused: Buffer | undefined;

/** `lengthBytes` of it, not cleared. */
export function readBuffer(lengthBytes: number): Buffer {
  if (lengthBytes > NFS_TRANSFER_BYTES_MAX) return Buffer.allocUnsafe(lengthBytes);
  reused ??= Buffer.allocUnsafeSlow(NFS_TRANSFER_BYTES_MAX);
  return reused.subarray(0, lengthBytes);
}
