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

  return {
    write(writer, treeId, fileId, epoch) {
      view.setUint32(0, VERSION_WORD);
      view.setUint32(4, treeId);
      const high = Math.floor(fileId / TWO_TO_32);
      view.setUint32(8, high);
      view.setUint32(12, fileId - high * TWO_TO_32);
      view.setUint32(16, epoch);
      const check = hash(view, SEALED_BYTES);
      view.setUint32(20, check.high);
      view.setUint32(24, check.low);
      writer.opaque(bytes);
    },

    read(handle) {
      if (handle.length !== HANDLE_BYTES) return undefined;
      bytes.set(handle);
      const check = hash(view, SEALED_BYTES);
      // One comparison for both halves: a guesser learns nothing from the time it takes.
      const difference = (check.high ^ view.getUint32(20)) | (check.low ^ view.getUint32(24));
      if (difference !== 0 || view.getUint32(0) !== VERSION_WORD) return undefined;
      return {
        treeId: view.getUint32(4),
        fileId: view.getUint32(8) * TWO_TO_32 + view.getUint32(12),
        epoch: view.getUint32(16),
      };
    },
  };
}
