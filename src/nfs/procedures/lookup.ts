/**
 * LOOKUP (3): directory and name → handle, attributes of both. RFC 1813 3.3.3.
 */

import { FILE_NAME_BYTES_MAX } from "../../limits.ts";
import type { Procedure } from "../call.ts";
import { demand, EXECUTE } from "../permission.ts";
import { wait } from "../task.ts";
import { VolumeError } from "../volume.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

export const lookup: Procedure<DirectoryOperand> = {
  name: "LOOKUP",
  changes: false,
  failure: ["attributes"],
  decode: readDirectoryOperand,
  *run(call, { directory: handle, name }) {
    const directory = yield* call.directory(handle);
    demand(call.who, directory.before, EXECUTE);
    if (name.length > FILE_NAME_BYTES_MAX) throw new VolumeError("NFS3ERR_NAMETOOLONG");
    const id = yield* wait(call.volume.lookup(directory.id, name));
    if (id === undefined) throw new VolumeError("NFS3ERR_NOENT");
    const attributes = yield* wait(call.volume.getattr(id));
    call.counters?.sawName(id, directory.id, name);
    return (reply) => {
      call.writeHandle(reply, id);
      call.writeAttributes(reply, attributes);
      call.writeAttributes(reply, directory.before);
    };
  },
};
