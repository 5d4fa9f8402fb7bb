/**
 * What READDIR and READDIRPLUS share. A listing goes on from the cookie of the last entry seen. Cookies are the
 * volume's and stay good while the entry exists, so the cookie verifier (which would say that all cookies became
 * invalid) is always zero and never compared.
 */

import type { FileName } from "../../bytes/file-name.ts";
import { NFS_LISTING_ENTRIES_MAX, NFS_TRANSFER_BYTES_MAX } from "../../limits.ts";
import { ATTRIBUTES_BYTES, FSID_AT, type Subject } from "../attributes.ts";
import type { NfsCall } from "../call.ts";
import { HANDLE_BYTES } from "../handle.ts";
import { demand, READ } from "../permission.ts";
import { type Task, wait } from "../task.ts";
import { type VolumeEntry, VolumeError } from "../volume.ts";

/** Bytes of a result before and after its entries: directory attributes, verifier, end of list, end of file. */
const LISTING_FRAME_BYTES = 4 + 84 + 8 + 4 + 4;
/** "Another entry follows", file id, length of the name, cookie: an entry without its name. */
const ENTRY_BYTES = 4 + 8 + 4 + 8;
const ENTRY_BYTES_MIN = ENTRY_BYTES + 4;

/** "Attributes follow", `fattr3`, "handle follows", handle with its length: what `entryplus3` has beside an entry. */
export const PLUS_BYTES = 4 + ATTRIBUTES_BYTES + 4 + 4 + HANDLE_BYTES;
/** How far before the end of an `entryplus3` the fsid of its attributes begins. */
export const ENTRY_FSID_FROM_END = PLUS_BYTES - 4 - FSID_AT;

/** How much of a listing an entry takes. */
export function entryBytes(name: FileName): number {
  return ENTRY_BYTES + name.length + (-name.length & 3);
}

export interface Listing {
  entries: VolumeEntry[];
  isComplete: boolean;
}

/**
 * The entries after `cookie` that fit into `maxBytes` of result, each taking `extraBytes` beside entry and name.
 * `namesBytesMax` is a hint that stops a listing early, but never before its first entry.
 */
export function* list(
  call: NfsCall,
  directory: Subject,
  cookie: number,
  maxBytes: number,
  extraBytes: number,
  namesBytesMax = maxBytes,
): Task<Listing> {
  demand(call.who, directory.before, READ);
  let bytesLeft = Math.min(maxBytes, NFS_TRANSFER_BYTES_MAX) - LISTING_FRAME_BYTES;
  let namesBytesLeft = namesBytesMax;
  const fitting = Math.floor(bytesLeft / (ENTRY_BYTES_MIN + extraBytes));
  if (fitting < 1) throw new VolumeError("NFS3ERR_TOOSMALL");
  const hinted = Math.max(1, Math.floor(namesBytesLeft / ENTRY_BYTES_MIN));
  const limit = Math.min(fitting, hinted, NFS_LISTING_ENTRIES_MAX);
  const { entries, complete } = yield* wait(call.volume.readdir(directory.id, cookie, limit));
  let count = 0;
  for (const { name } of entries) {
    const bytes = entryBytes(name);
    bytesLeft -= bytes + extraBytes;
    namesBytesLeft -= bytes;
    if (bytesLeft < 0 || (namesBytesLeft < 0 && count > 0)) break;
    count++;
  }
  if (count === 0 && entries.length > 0) throw new VolumeError("NFS3ERR_TOOSMALL");
  const isComplete = complete && count === entries.length;
  return { entries: count === entries.length ? entries : entries.slice(0, count), isComplete };
}
