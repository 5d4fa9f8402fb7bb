/**
 * MKDIR (9): directory, name, attributes → handle and attributes of the new directory, wcc of its parent.
 * RFC 1813 3.3.9.
 */
import { readAttributeChanges } from "../attributes.ts";
import { checkName, type Procedure } from "../call.ts";
import { attributesForNew, demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import type { AttributeChanges } from "../volume.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

export const mkdir: Procedure<DirectoryOperand & { requested: AttributeChanges }> = {
  name: "MKDIR",
  changes: true,
  failure: ["wcc"],
  decode: (args) => ({ ...readDirectoryOperand(args), requested: readAttributeChanges(args) }),
  *run(call, { directory: handle, name, requested }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    demand(call.who, directory.before, WRITE | EXECUTE);
    const attributes = attributesForNew(call.who, directory.before, requested, "directory");
    const id = yield* wait(call.volume.mkdir(directory.id, name, attributes, call.identity));
    const made = yield* call.attributesIfThere(id);
    yield* call.refresh(directory);
    return (reply) => call.writeNew(reply, id, made, directory);
  },
};
