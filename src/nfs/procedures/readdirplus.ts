/**
 * READDIRPLUS (17): directory, cookie, verifier, dircount, maxcount → attributes, entries with attributes and
 * handles, end of list. RFC 1813 3.3.17.
 *
 * `dircount` bounds the names part, `maxcount` the whole result. An entry that vanished since it was listed comes
 * without attributes and handle.
 */
import type { Procedure } from "../call.ts";
import { HANDLE_BYTES } from "../handle.ts";
import { XdrWriter } from "../xdr.ts";
import { HANDLE, VERIFIER_BYTES } from "./arguments.ts";
import { list as listEntries } from "./listing.ts";

/** "Attributes follow", `fattr3`, "handle follows", handle with its length. */
const PLUS_BYTES = 4 + 84 + 4 + 4 + HANDLE_BYTES;

const LIST_BYTES_USUAL = 32 * 1024;

/** What a list is written to before it is known where in the reply it comes. Used again: new memory costs more. */
let spare: XdrWriter | undefined;

interface Args {
  directory: Uint8Array;
  cookie: bigint;
  namesBytesMax: number;
  maxBytes: number;
}

export const readdirplus: Procedure<Args> = {
  name: "READDIRPLUS",
  changes: false,
  failure: ["attributes"],
  decode: (args) => {
    const directory = args.opaque(HANDLE, "dir");
    const cookie = args.u64("cookie");
    args.skip(VERIFIER_BYTES, "cookieverf");
    return { directory, cookie, namesBytesMax: args.u32("dircount"), maxBytes: args.u32("maxcount") };
  },
  *run(call, { directory: handle, cookie, namesBytesMax, maxBytes }) {
    const directory = yield* call.directory(handle);
    call.replyBytesMax = maxBytes;
    const { entries, isComplete } = yield* listEntries(call, directory, cookie, maxBytes, PLUS_BYTES, namesBytesMax);
    const list = spare ?? new XdrWriter(LIST_BYTES_USUAL);
    spare = undefined;
    for (const entry of entries) {
      call.counters?.sawName(entry.id, directory.id, entry.name);
      list.bool(true).hyper(entry.id).name(entry.name).u64(entry.cookie);
      const start = list.lengthBytes;
      list.bool(true);
      if (!call.volume.writeAttributes?.(entry.id, list)) {
        list.truncate(start);
        const attributes = yield* call.attributesIfThere(entry.id);
        call.writeAttributes(list, attributes);
        if (attributes === undefined) {
          list.bool(false);
          continue;
        }
      }
      list.bool(true);
      call.writeHandle(list, entry.id);
    }
    return (reply) => {
      call.writeAttributes(reply, directory.before);
      reply.zeros(VERIFIER_BYTES).bytes(list.finish()).bool(false).bool(isComplete);
      list.truncate(0);
      spare = list;
    };
  },
};
