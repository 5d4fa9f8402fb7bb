/**
 * GETATTR (1): object → attributes. RFC 1813 3.3.1.
 *
 * Needs no permission: who holds a handle may look at the file's attributes.
 */
import { writeAttributes } from "../attributes.ts";
import type { Procedure } from "../call.ts";
import { HANDLE } from "./arguments.ts";

export const getattr: Procedure<{ object: Uint8Array }> = {
  name: "GETATTR",
  changes: false,
  failure: [],
  decode: (args) => ({ object: args.opaque(HANDLE, "object") }),
  *run(call, { object }) {
    const { before } = yield* call.file(object);
    return (reply) => writeAttributes(reply, call.volume.fsid, before);
  },
};
