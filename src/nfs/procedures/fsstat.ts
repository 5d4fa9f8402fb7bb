/**
 * FSSTAT (18): file system → attributes, bytes and files in all, free, and free for the caller; for how long this
 * holds (unknown: 0). RFC 1813 3.3.18.
 */
import type { Procedure } from "../call.ts";
import { wait } from "../task.ts";
import { HANDLE } from "./arguments.ts";

export const fsstat: Procedure<{ root: Uint8Array }> = {
  name: "FSSTAT",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({ root: args.opaque(HANDLE, "fsroot") }),
  *run(call, { root }) {
    const file = yield* call.file(root);
    const space = yield* wait(call.volume.statfs());
    return (reply) => {
      call.writeAttributes(reply, file.before);
      reply.hyper(space.totalBytes).hyper(space.freeBytes).hyper(space.availableBytes);
      reply.hyper(space.totalFiles).hyper(space.freeFiles).hyper(space.freeFiles);
      reply.u32(0);
    };
  },
};
