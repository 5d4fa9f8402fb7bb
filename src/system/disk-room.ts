/**
 * Keeps the end of a disk free. The last `METADATA_RESERVE_BYTES` are for records: on a full disk files can still be
 * removed. And LMDB must never meet the end itself: lmdb 3.5.6 formats its message for a failed page write into 100
 * bytes, too few, and the heap is damaged (liblmdb/mdb.c, mdb_page_flush, "Attempting to write page").
 */
import { statfsSync } from "node:fs";

const MIB = 2 ** 20;

/** Contents of files stop this far from the end. */
export const METADATA_RESERVE_BYTES = 32 * MIB;

/** Records stop here. More than anybody else writes between our question and the commit. */
export const COMMIT_MARGIN_BYTES = 8 * MIB;

export function diskSpace(folder: string): { totalBytes: number; freeBytes: number } {
  const { bsize, blocks, bavail } = statfsSync(folder);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** Throws ENOSPC, as the system would, when not more than `leftBytes` would be left. */
export function checkRoom(folder: string, neededBytes: number, leftBytes: number): void {
  if (diskSpace(folder).freeBytes - neededBytes > leftBytes) return;
  const reason = `No space left on device: fewer than ${Math.ceil((neededBytes + leftBytes) / MIB)} MiB are free`;
  throw Object.assign(new Error(`Cannot write to ${folder}: ${reason}`), { code: "ENOSPC" });
}
