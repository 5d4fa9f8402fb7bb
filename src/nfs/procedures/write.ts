/**
 * WRITE (7): file, offset, bytes, how stable → wcc, count, what was promised, write verifier. RFC 1813 3.3.7.
 *
 * UNSTABLE data may be lost when the server stops; the client keeps it until COMMIT, and sends it again if the
 * verifier has changed by then. DATA_SYNC and FILE_SYNC are both done as FILE_SYNC.
 */

import { NFS_TRANSFER_BYTES_MAX } from "../../limits.ts";
import { checkFileSize } from "../attributes.ts";
import type { Procedure } from "../call.ts";
import { demandWrite, modeAfterWrite } from "../permission.ts";
import { wait } from "../task.ts";
import { VolumeError } from "../volume.ts";
import { HANDLE } from "./arguments.ts";

const STABLE_HOW = { UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 } as const;

export const write: Procedure<{ file: Uint8Array; offset: number; isStable: boolean; bytes: Uint8Array }> = {
  name: "WRITE",
  changes: true,
  failure: ["wcc"],
  decode: (args) => {
    const file = args.opaque(HANDLE, "file");
    const offset = args.hyper("offset");
    const countBytes = args.u32("count");
    const stable = args.u32("stable");
    if (stable > STABLE_HOW.FILE_SYNC) throw args.error("stable", `${stable} is no stable_how`);
    const bytes = args.opaque(NFS_TRANSFER_BYTES_MAX, "data");
    if (bytes.length !== countBytes) throw args.error("data", `${bytes.length} bytes, but count is ${countBytes}`);
    return { file, offset, isStable: stable !== STABLE_HOW.UNSTABLE, bytes };
  },
  *run(call, { file: handle, offset, isStable, bytes }) {
    const countBytes = bytes.length;
    const file = yield* call.file(handle);
    const { type } = file.before;
    if (type !== "file") throw new VolumeError(type === "directory" ? "NFS3ERR_ISDIR" : "NFS3ERR_INVAL");
    demandWrite(call.who, file.before);
    checkFileSize(offset + countBytes);
    const verifier = call.writeVerifier();
    if (countBytes > 0) {
      // First, as Linux does: whatever happens between the two, nobody runs what another has written as its owner.
      const mode = modeAfterWrite(call.who, file.before);
      if (mode !== undefined) yield* wait(call.volume.setattr(file.id, { mode }));
      yield* wait(call.volume.write(file.id, offset, bytes, isStable));
      yield* call.refresh(file);
      call.changed(file.id);
    }
    call.counters?.wrote(file.id, countBytes, call.who.uid);
    return (reply) => {
      call.writeWcc(reply, file);
      reply.u32(countBytes).u32(isStable ? STABLE_HOW.FILE_SYNC : STABLE_HOW.UNSTABLE);
      reply.bytes(verifier);
    };
  },
};
