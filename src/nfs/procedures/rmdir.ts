/**
 * RMDIR (13): directory and name → wcc of the directory; removes an empty directory.
 * RFC 1813 3.3.13.
 */
import { checkName, type Procedure } from "../call.ts";
import { demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

export const rmdir: Procedure<DirectoryOperand> = {
  name: "RMDIR",
  changes: true,
  failure: ["wcc"],
  decode: readDirectoryOperand,
  *run(call, { directory: handle, name }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    demand(call.who, directory.before, WRITE | EXECUTE);
    yield* call.demandDeletable(directory, name);
    yield* wait(call.volume.rmdir(directory.id, name, call.identity));
    yield* call.refresh(directory);
    return (reply) => call.writeWcc(reply, directory);
  },
};
