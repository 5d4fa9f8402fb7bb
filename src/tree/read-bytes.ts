/** Reads of a tree's files: at once where no wait for a disk is needed. */
import { NFS_TRANSFER_BYTES_MAX } from "../limits.ts";
import type { Awaitable } from "../ports.ts";
import type { Layer } from "./layer.ts";

/** What the last reader gave back: the pages of new memory would cost more than what is read into them. */
let spare: Buffer | undefined;

export interface ReadBytes {
  bytes: Uint8Array;
  release?: () => void;
}

/** At most `countBytes` from `offset` of a plain file. */
export function readBytes(layer: Layer, id: number, offset: number, countBytes: number): Awaitable<ReadBytes> {
  // Neither is cleared first: only what was read is shown.
  const whole = spare ?? Buffer.allocUnsafeSlow(NFS_TRANSFER_BYTES_MAX);
  spare = undefined;
  const release = () => {
    spare = whole;
  };
  const now = whole.subarray(0, Math.min(countBytes, whole.length));
  const filledNow = layer.readNow(id, now, offset);
  if (filledNow !== undefined && now.length === countBytes) return { bytes: now.subarray(0, filledNow), release };
  release();
  const bytes = Buffer.allocUnsafe(countBytes);
  const filledBytes = layer.read(id, bytes, offset);
  if (!(filledBytes instanceof Promise)) return { bytes: bytes.subarray(0, filledBytes) };
  return filledBytes.then((filledBytes) => ({ bytes: bytes.subarray(0, filledBytes) }));
}
