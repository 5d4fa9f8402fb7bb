/**
 * READDIR (16): directory, cookie, verifier, count → attributes, entries (file id, name, cookie), end of list.
 * RFC 1813 3.3.16.
 */
import type { Procedure } from "../call.ts";
import { HANDLE, VERIFIER_BYTES } from "./arguments.ts";
import { list } from "./listing.ts";

export const readdir: Procedure<{ directory: Uint8Array; cookie: number; countBytes: number }> = {
  name: "READDIR",
  changes: false,
  failure: ["attributes"],
  decode: (args) => {
    const directory = args.opaque(HANDLE, "dir");
    const cookie = args.hyper("cookie");
    args.skip(VERIFIER_BYTES, "cookieverf");
    return { directory, cookie, countBytes: args.u32("count") };
  },
  *run(call, { directory: handle, cookie, countBytes }) {
    const directory = yield* call.directory(handle);
    call.replyBytesMax = countBytes;
    const { entries, isComplete } = yield* list(call, directory, cookie, countBytes, 0);
    return (reply) => {
      call.writeAttributes(reply, directory.before);
      reply.zeros(VERIFIER_BYTES);
      for (const entry of entries) reply.bool(true).hyper(entry.id).name(entry.name).hyper(entry.cookie);
      reply.bool(false).bool(isComplete);
    };
  },
};
