/**
 * COMMIT (21): file, offset, count → wcc, write verifier. RFC 1813 3.3.21.
 *
 * Makes durable what was written UNSTABLE. The range is not looked at: the whole file is made durable.
 */
import type { Procedure } from "../call.ts";
import { demandWrite } from "../permission.ts";
import { wait } from "../task.ts";
import { VolumeError } from "../volume.ts";
import { HANDLE } from "./arguments.ts";

export const commit: Procedure<{ file: Uint8Array }> = {
  name: "COMMIT",
  changes: false,
  failure: ["wcc"],
  decode: (args) => {
    const file = args.opaque(HANDLE, "file");
    args.u64("offset");
    args.u32("count");
    return { file };
  },
  *run(call, { file: handle }) {
    const file = yield* call.file(handle);
    if (file.before.type !== "file") throw new VolumeError("NFS3ERR_INVAL");
    demandWrite(call.who, file.before);
    yield* wait(call.volume.commit(file.id));
    yield* call.refresh(file);
    const verifier = call.writeVerifier();
    return (reply) => {
      call.writeWcc(reply, file);
      reply.bytes(verifier);
    };
  },
};
