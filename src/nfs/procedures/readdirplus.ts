/**
 * READDIRPLUS (17): directory, cookie, verifier, dircount, maxcount → attributes, entries with attributes and
 * handles, end of list. RFC 1813 3.3.17.
 *
 * `dircount` bounds the names part, `maxcount` the whole result. An entry that vanished since it was listed comes
 * without attributes and handle.
 */
import type { NfsCall, Procedure } from "../call.ts";
import { HANDLE_BYTES } from "../handle.ts";
import type { Task } from "../task.ts";
import type { VolumeEntry } from "../volume.ts";
import { XdrWriter } from "../xdr.ts";
import { HANDLE, VERIFIER_BYTES } from "./arguments.ts";
import { entryBytes, list as listEntries, PLUS_BYTES } from "./listing.ts";

const LIST_BYTES_USUAL = 32 * 1024;

/** What a list is written to before it is known where in the reply it comes. Used again: new memory costs more. */
let spare: XdrWriter | undefined;

interface Args {
  directory: Uint8Array;
  cookie: number;
  namesBytesMax: number;
  maxBytes: number;
}

export const readdirplus: Procedure<Args> = {
  name: "READDIRPLUS",
  changes: false,
  failure: ["attributes"],
  decode: (args) => {
    const directory = args.opaque(HANDLE, "dir");
    const cookie = args.hyper("cookie");
    args.skip(VERIFIER_BYTES, "cookieverf");
    return { directory, cookie, namesBytesMax: args.u32("dircount"), maxBytes: args.u32("maxcount") };
  },
  *run(call, { directory: handle, cookie, namesBytesMax, maxBytes }) {
    const directory = yield* call.directory(handle);
    call.replyBytesMax = maxBytes;
    const { entries, isComplete } = yield* listEntries(call, directory, cookie, maxBytes, PLUS_BYTES, namesBytesMax);
    const list = spare ?? new XdrWriter(LIST_BYTES_USUAL);
    spare = undefined;
    for (const entry of entries) call.counters?.sawName(entry.id, directory.id, entry.name);
    const dots = entries.findIndex(({ name }) => name !== "." && name !== "..");
    const files = dots === 0 ? entries : dots > 0 ? entries.slice(dots) : [];
    for (const entry of dots === -1 ? entries : entries.slice(0, dots)) yield* writeEntry(call, list, entry);
    const start = list.lengthBytes;
    if (call.volume.writeEntries?.(directory.id, files, list)) writeHandles(call, list, start, files);
    else for (const entry of files) yield* writeEntry(call, list, entry);
    return (reply) => {
      call.writeAttributes(reply, directory.before);
      reply.zeros(VERIFIER_BYTES).bytes(list.finish()).bool(false).bool(isComplete);
      list.truncate(0);
      spare = list;
    };
  },
};

function* writeEntry(call: NfsCall, list: XdrWriter, entry: VolumeEntry): Task<void> {
  list.bool(true).hyper(entry.id).name(entry.name).hyper(entry.cookie);
  const start = list.lengthBytes;
  list.bool(true);
  if (!call.volume.writeAttributes?.(entry.id, list)) {
    list.truncate(start);
    const attributes = yield* call.attributesIfThere(entry.id);
    call.writeAttributes(list, attributes);
    if (attributes === undefined) {
      list.bool(false);
      return;
    }
  }
  list.bool(true);
  call.writeHandle(list, entry.id);
}

/** Into entries that were written from `start` on. */
function writeHandles(call: NfsCall, list: XdrWriter, start: number, entries: readonly VolumeEntry[]): void {
  const { environment, treeId } = call;
  const { epoch } = call.volume;
  let end = start;
  for (const { id, name } of entries) {
    end += entryBytes(name) + PLUS_BYTES;
    environment.handles.patch(list, end - HANDLE_BYTES - 4, treeId, id, epoch);
  }
}
