/**
 * File handles: what a client holds instead of an open file. They carry everything needed to find the file again, so
 * the server keeps no table of them and a restart, an upgrade or a rename loses none.
 *
 *     0  version (1)     4  tree id     8  file id (64 bits)     16  epoch     20  check (64 bits)     28 bytes in all
 *     1  zero, 3 bytes
 *
 * The check is SipHash-2-4 of the first 20 bytes under the manager's key: a client can only name files it was shown.
 * The epoch is the volume's; it changes when the node's layer is dropped, and older handles are then stale.
 */
import { createSipHash } from "./siphash.ts";
import type { XdrWriter } from "./xdr.ts";

export const HANDLE_BYTES = 28;
export const HANDLE_KEY_BYTES = 16;

const VERSION_WORD = 0x0100_0000;
const SEALED_BYTES = 20;
const LENGTH_BYTES = 4;
const SLOT_BYTES = LENGTH_BYTES + HANDLE_BYTES;

/** 1 MiB: handles sealed or checked lately, each at the place that its ids give it. */
const RECENT_HANDLES_BITS = 15;
const RECENT_HANDLES = 2 ** RECENT_HANDLES_BITS;
/** Odd numbers that spread ids which follow one another (Knuth, volume 3, 6.4). */
const SPREAD = 0x9e3779b1;
const SPREAD_TREES = 0x85ebca6b;
const TWO_TO_32 = 0x1_0000_0000;

export interface FileHandle {
  treeId: number;
  fileId: number;
  epoch: number;
}

export interface HandleCodec {
  /** Writes an `nfs_fh3`: length, then handle. */
  write(writer: XdrWriter, treeId: number, fileId: number, epoch: number): void;
  /** Writes it over what is at `at`. */
  patch(writer: XdrWriter, at: number, treeId: number, fileId: number, epoch: number): void;
  /** `undefined` when the bytes are no handle of this manager (NFS3ERR_BADHANDLE). */
  read(bytes: Uint8Array): FileHandle | undefined;
}

/** `key` has 16 secret bytes, the same in every run of one manager. */
export function createHandleCodec(key: Uint8Array): HandleCodec {
  const hash = createSipHash(key);
  const bytes = new Uint8Array(HANDLE_BYTES);
  const view = new DataView(bytes.buffer);
  const recent = new DataView(new ArrayBuffer(RECENT_HANDLES * SLOT_BYTES));

  /**
   * Where the sealed handle stands among the recent ones, as `nfs_fh3`. Handles are used again and again, and hashing is
   * what they cost.
   */
  function sealed(treeId: number, idHigh: number, idLow: number, epoch: number): number {
    const slot = (Math.imul(idLow, SPREAD) ^ Math.imul(treeId, SPREAD_TREES)) >>> (32 - RECENT_HANDLES_BITS);
    const at = slot * SLOT_BYTES + LENGTH_BYTES;
    const isThere =
      recent.getUint32(at) === VERSION_WORD &&
      recent.getUint32(at + 4) === treeId &&
      recent.getUint32(at + 8) === idHigh &&
      recent.getUint32(at + 12) === idLow &&
      recent.getUint32(at + 16) === epoch;
    if (isThere) return at;
    recent.setUint32(at - LENGTH_BYTES, HANDLE_BYTES);
    recent.setUint32(at, VERSION_WORD);
    recent.setUint32(at + 4, treeId);
    recent.setUint32(at + 8, idHigh);
    recent.setUint32(at + 12, idLow);
    recent.setUint32(at + 16, epoch);
    const check = hash(recent, at, SEALED_BYTES);
    recent.setUint32(at + 20, check.high);
    recent.setUint32(at + 24, check.low);
    return at;
  }

  return {
    write(writer, treeId, fileId, epoch) {
      const idHigh = Math.floor(fileId / TWO_TO_32);
      const at = sealed(treeId, idHigh, fileId - idHigh * TWO_TO_32, epoch);
      writer.words(recent, at - LENGTH_BYTES, SLOT_BYTES / 4);
    },

    patch(writer, at, treeId, fileId, epoch) {
      const idHigh = Math.floor(fileId / TWO_TO_32);
      const from = sealed(treeId, idHigh, fileId - idHigh * TWO_TO_32, epoch);
      writer.patchWords(at, recent, from - LENGTH_BYTES, SLOT_BYTES / 4);
    },

    read(handle) {
      if (handle.length !== HANDLE_BYTES) return undefined;
      bytes.set(handle);
      if (view.getUint32(0) !== VERSION_WORD) return undefined;
      const [treeId, idHigh, idLow] = [view.getUint32(4), view.getUint32(8), view.getUint32(12)];
      const epoch = view.getUint32(16);
      const [checkHigh, checkLow] = [view.getUint32(20), view.getUint32(24)];
      const at = sealed(treeId, idHigh, idLow, epoch);
      // One comparison for both halves: a guesser learns nothing from the time it takes.
      const difference = (recent.getUint32(at + 20) ^ checkHigh) | (recent.getUint32(at + 24) ^ checkLow);
      return difference === 0 ? { treeId, fileId: idHigh * TWO_TO_32 + idLow, epoch } : undefined;
    },
  };
}
