/**
 * PATHCONF (20): object → attributes, POSIX limits. RFC 1813 3.3.20.
 */

import { FILE_NAME_BYTES_MAX, LINKS_MAX } from "../../limits.ts";
import type { Procedure } from "../call.ts";
import { HANDLE } from "./arguments.ts";

export const pathconf: Procedure<{ object: Uint8Array }> = {
  name: "PATHCONF",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({ object: args.opaque(HANDLE, "object") }),
  *run(call, { object }) {
    const file = yield* call.file(object);
    return (reply) => {
      call.writeAttributes(reply, file.before);
      reply.u32(LINKS_MAX).u32(FILE_NAME_BYTES_MAX);
      reply.bool(true); // no_trunc: long names are refused
      reply.bool(true); // chown_restricted
      reply.bool(!call.volume.caseSensitive); // case_insensitive
      reply.bool(true); // case_preserving
    };
  },
};
