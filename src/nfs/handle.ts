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
const WORDS = HANDLE_BYTES / 4;

/** 900 KB: handles sealed or checked lately, each at the place that its ids give it. */
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
  /** `undefined` when the bytes are no handle of this manager (NFS3ERR_BADHANDLE). */
  read(bytes: Uint8Array): FileHandle | undefined;
}

/** `key` has 16 secret bytes, the same in every run of one manager. */
export function createHandleCodec(key: Uint8Array): HandleCodec {
  const hash = createSipHash(key);
  const bytes = new Uint8Array(HANDLE_BYTES);
  const view = new DataView(bytes.buffer);
  const recent = new Uint32Array(RECENT_HANDLES * WORDS);

  /**
   * Where the sealed handle stands among the recent ones, as its seven words. Handles are used again and again, and
   * hashing is what they cost.
   */
  function sealed(treeId: number, idHigh: number, idLow: number, epoch: number): number {
    const slot = (Math.imul(idLow, SPREAD) ^ Math.imul(treeId, SPREAD_TREES)) >>> (32 - RECENT_HANDLES_BITS);
    const at = slot * WORDS;
    const isThere =
      recent[at] === VERSION_WORD &&
      recent[at + 1] === treeId &&
      recent[at + 2] === idHigh &&
      recent[at + 3] === idLow &&
      recent[at + 4] === epoch;
    if (isThere) return at;
    view.setUint32(0, VERSION_WORD);
    view.setUint32(4, treeId);
    view.setUint32(8, idHigh);
    view.setUint32(12, idLow);
    view.setUint32(16, epoch);
    const check = hash(view, SEALED_BYTES);
    recent[at] = VERSION_WORD;
    recent[at + 1] = treeId;
    recent[at + 2] = idHigh;
    recent[at + 3] = idLow;
    recent[at + 4] = epoch;
    recent[at + 5] = check.high;
    recent[at + 6] = check.low;
    return at;
  }

  return {
    write(writer, treeId, fileId, epoch) {
      const idHigh = Math.floor(fileId / TWO_TO_32);
      const at = sealed(treeId, idHigh, fileId - idHigh * TWO_TO_32, epoch);
      writer.u32(HANDLE_BYTES);
      for (let word = at; word < at + WORDS; word++) writer.u32(recent[word]!);
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
      const difference = (recent[at + 5]! ^ checkHigh) | (recent[at + 6]! ^ checkLow);
      return difference === 0 ? { treeId, fileId: idHigh * TWO_TO_32 + idLow, epoch } : undefined;
    },
  };
}
