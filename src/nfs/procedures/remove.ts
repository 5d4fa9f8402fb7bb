/**
 * REMOVE (12): directory and name → wcc of the directory; takes the name of anything but a directory out of its directory.
 * RFC 1813 3.3.12.
 */
import { checkName, type Procedure } from "../call.ts";
import { demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

export const remove: Procedure<DirectoryOperand> = {
  name: "REMOVE",
  changes: true,
  failure: ["wcc"],
  decode: readDirectoryOperand,
  *run(call, { directory: handle, name }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    demand(call.who, directory.before, WRITE | EXECUTE);
    yield* call.demandDeletable(directory, name);
    yield* wait(call.volume.remove(directory.id, name, call.identity));
    yield* call.refresh(directory);
    return (reply) => call.writeWcc(reply, directory);
  },
};
