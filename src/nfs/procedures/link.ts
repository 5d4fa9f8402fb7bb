/**
 * LINK (15): file, directory and name → attributes of the file, wcc of the directory. RFC 1813 3.3.15.
 */
import { checkName, type Procedure } from "../call.ts";
import { demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { VolumeError } from "../volume.ts";
import { type DirectoryOperand, HANDLE, readDirectoryOperand } from "./arguments.ts";

export const link: Procedure<{ file: Uint8Array; link: DirectoryOperand }> = {
  name: "LINK",
  changes: true,
  failure: ["attributes", "wcc"],
  decode: (args) => ({ file: args.opaque(HANDLE, "file"), link: readDirectoryOperand(args) }),
  *run(call, { file: handle, link: { directory: directoryHandle, name } }) {
    const file = yield* call.file(handle);
    const directory = yield* call.directory(directoryHandle);
    checkName(name);
    if (file.before.type === "directory") throw new VolumeError("NFS3ERR_PERM");
    demand(call.who, directory.before, WRITE | EXECUTE);
    yield* wait(call.volume.link(file.id, directory.id, name, call.identity));
    yield* call.refresh(file);
    yield* call.refresh(directory);
    return (reply) => {
      call.writeAttributes(reply, file.after);
      call.writeWcc(reply, directory);
    };
  },
};
