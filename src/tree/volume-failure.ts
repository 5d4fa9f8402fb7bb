import { DecodeError } from "../bytes/decode-error.ts";
import { type NfsStatus, VolumeError } from "../nfs/volume.ts";
import type { Awaitable } from "../ports.ts";

/** What the operating system (and LMDB) say when a disk is full or fails, as the client is to hear it. */
const STATUS_BY_CODE: Record<string, NfsStatus> = {
  ENOSPC: "NFS3ERR_NOSPC",
  MDB_MAP_FULL: "NFS3ERR_NOSPC",
  EDQUOT: "NFS3ERR_DQUOT",
  EFBIG: "NFS3ERR_FBIG",
  EROFS: "NFS3ERR_ROFS",
  EIO: "NFS3ERR_IO",
};

/** LMDB's errors carry no code, but the text of `strerror`. */
const CODE_BY_MESSAGE: [RegExp, string][] = [
  [/No space left on device/, "ENOSPC"],
  [/MDB_MAP_FULL/, "MDB_MAP_FULL"],
  [/Disk quota exceeded/, "EDQUOT"],
  [/Read-only file system/, "EROFS"],
  [/Input\/output error/, "EIO"],
];

/** The refusal to send for an error, or the error itself when it is none that a client can understand. */
function asVolumeError(error: unknown): unknown {
  if (error instanceof VolumeError) return error;
  if (error instanceof DecodeError) return new VolumeError("NFS3ERR_IO", { cause: error });
  const { code, message } = error as { code?: unknown; message?: unknown };
  const known = typeof code === "string" ? code : CODE_BY_MESSAGE.find(([text]) => text.test(String(message)))?.[1];
  const status = known === undefined ? undefined : STATUS_BY_CODE[known];
  return status === undefined ? error : new VolumeError(status, { cause: error });
}

/** True of whatever the system, LMDB or a worker says when the disk has no room left. */
export function isNoRoom(error: unknown): boolean {
  const refusal = asVolumeError(error);
  return refusal instanceof VolumeError && (refusal.status === "NFS3ERR_NOSPC" || refusal.status === "NFS3ERR_DQUOT");
}

/** Runs an operation; its failure, thrown or rejected, becomes a refusal where it can. */
export function refusing<T>(operation: () => Awaitable<T>): Awaitable<T> {
  try {
    const result = operation();
    if (!(result instanceof Promise)) return result;
    return result.catch((error: unknown) => {
      throw asVolumeError(error);
    });
  } catch (error) {
    throw asVolumeError(error);
  }
}
