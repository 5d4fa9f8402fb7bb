/**
 * What READDIR and READDIRPLUS share. A listing goes on from the cookie of the last entry seen. Cookies are the
 * volume's and stay good while the entry exists, so the cookie verifier (which would say that all cookies became
 * invalid) is always zero and never compared.
 */
import { NFS_LISTING_ENTRIES_MAX, NFS_TRANSFER_BYTES_MAX } from "../../limits.ts";
import type { Subject } from "../attributes.ts";
import type { NfsCall } from "../call.ts";
import { demand, READ } from "../permission.ts";
import { type Task, wait } from "../task.ts";
import { type VolumeEntry, VolumeError } from "../volume.ts";

/** Bytes of a result before and after its entries: directory attributes, verifier, end of list, end of file. */
const LISTING_FRAME_BYTES = 4 + 84 + 8 + 4 + 4;
/** "Another entry follows", file id, length of the name, cookie: an entry without its name. */
export const ENTRY_BYTES = 4 + 8 + 4 + 8;

export interface Listing {
  entries: VolumeEntry[];
  isComplete: boolean;
}

/** The entries after `cookie` that fit into `maxBytes` of result, each taking `extraBytes` beside entry and name. */
export function* list(
  call: NfsCall,
  directory: Subject,
  cookie: bigint,
  maxBytes: number,
  extraBytes: number,
  namesBytesMax = maxBytes,
): Task<Listing> {
  demand(call.who, directory.before, READ);
  let bytesLeft = Math.min(maxBytes, NFS_TRANSFER_BYTES_MAX) - LISTING_FRAME_BYTES;
  let namesBytesLeft = namesBytesMax;
  const smallest = ENTRY_BYTES + 4 + extraBytes;
  const limit = Math.floor(Math.min(bytesLeft / smallest, namesBytesLeft / (ENTRY_BYTES + 4)));
  if (limit < 1) throw new VolumeError("NFS3ERR_TOOSMALL");
  const { entries, complete } = yield* wait(
    call.volume.readdir(directory.id, cookie, Math.min(limit, NFS_LISTING_ENTRIES_MAX)),
  );
  let count = 0;
  for (const { name } of entries) {
    const entryBytes = ENTRY_BYTES + name.length + (-name.length & 3);
    bytesLeft -= entryBytes + extraBytes;
    namesBytesLeft -= entryBytes;
    if (bytesLeft < 0 || (namesBytesLeft < 0 && count > 0)) break;
    count++;
  }
  if (count === 0 && entries.length > 0) throw new VolumeError("NFS3ERR_TOOSMALL");
  const isComplete = complete && count === entries.length;
  return { entries: count === entries.length ? entries : entries.slice(0, count), isComplete };
}
