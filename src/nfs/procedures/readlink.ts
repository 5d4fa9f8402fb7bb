/**
 * READLINK (5): symlink → its target, as the bytes that were given to SYMLINK. RFC 1813 3.3.5.
 */
import type { Procedure } from "../call.ts";
import { wait } from "../task.ts";
import { VolumeError } from "../volume.ts";
import { HANDLE } from "./arguments.ts";

export const readlink: Procedure<{ symlink: Uint8Array }> = {
  name: "READLINK",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({ symlink: args.opaque(HANDLE, "symlink") }),
  *run(call, { symlink }) {
    const file = yield* call.file(symlink);
    if (file.before.type !== "symlink") throw new VolumeError("NFS3ERR_INVAL");
    const target = yield* wait(call.volume.readlink(file.id));
    return (reply) => {
      call.writeAttributes(reply, file.before);
      reply.name(target);
    };
  },
};
