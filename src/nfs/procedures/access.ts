/**
 * ACCESS (4): object, wanted bits → granted bits. RFC 1813 3.3.4.
 *
 * Clients decide open(2) by this instead of reading mode bits, since only the server knows about uid 0.
 */
import type { Procedure } from "../call.ts";
import { grantedAccess } from "../permission.ts";
import { HANDLE } from "./arguments.ts";

export const access: Procedure<{ object: Uint8Array; asked: number }> = {
  name: "ACCESS",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({ object: args.opaque(HANDLE, "object"), asked: args.u32("access") }),
  *run(call, { object, asked }) {
    const { before } = yield* call.file(object);
    return (reply) => {
      call.writeAttributes(reply, before);
      reply.u32(grantedAccess(call.who, before, asked));
    };
  },
};
