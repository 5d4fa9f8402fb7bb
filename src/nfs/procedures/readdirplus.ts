/**
 * READDIRPLUS (17): directory, cookie, verifier, dircount, maxcount → attributes, entries with attributes and
 * handles, end of list. RFC 1813 3.3.17.
 *
 * `dircount` bounds the names part, `maxcount` the whole result. An entry that vanished since it was listed comes
 * without attributes and handle.
 */
import type { Procedure } from "../call.ts";
import { HANDLE_BYTES } from "../handle.ts";
import type { VolumeAttributes } from "../volume.ts";
import { HANDLE, VERIFIER_BYTES } from "./arguments.ts";
import { list } from "./listing.ts";

/** "Attributes follow", `fattr3`, "handle follows", handle with its length. */
const PLUS_BYTES = 4 + 84 + 4 + 4 + HANDLE_BYTES;

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
    const { entries, isComplete } = yield* list(call, directory, cookie, maxBytes, PLUS_BYTES, namesBytesMax);
    const attributes: (VolumeAttributes | undefined)[] = [];
    for (const { id, name } of entries) {
      attributes.push(yield* call.attributesIfThere(id));
      call.counters?.sawName(id, directory.id, name);
    }
    return (reply) => {
      call.writeAttributes(reply, directory.before);
      reply.zeros(VERIFIER_BYTES);
      entries.forEach((entry, index) => {
        const known = attributes[index];
        reply.bool(true).hyper(entry.id).name(entry.name).u64(entry.cookie);
        call.writeAttributes(reply, known);
        reply.bool(known !== undefined);
        if (known !== undefined) call.writeHandle(reply, entry.id);
      });
      reply.bool(false).bool(isComplete);
    };
  },
};
