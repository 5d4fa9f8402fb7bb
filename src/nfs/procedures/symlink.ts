/**
 * SYMLINK (10): directory, name, attributes, target → handle and attributes of the symlink, wcc of the directory.
 * RFC 1813 3.3.10.
 *
 * The target is only text to the server. Whatever mode is sent, a symlink shows as 0777, as it does everywhere else.
 */
import type { FileName } from "../../bytes/file-name.ts";
import { SYMLINK_BYTES_MAX } from "../../limits.ts";
import { readAttributeChanges } from "../attributes.ts";
import { checkName, type Procedure } from "../call.ts";
import { attributesForNew, demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { type AttributeChanges, VolumeError } from "../volume.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

const SYMLINK_MODE = 0o777;

export const symlink: Procedure<DirectoryOperand & { requested: AttributeChanges; target: FileName }> = {
  name: "SYMLINK",
  changes: true,
  failure: ["wcc"],
  decode: (args) => ({
    ...readDirectoryOperand(args),
    requested: readAttributeChanges(args),
    target: args.name("symlink_data"),
  }),
  *run(call, { directory: handle, name, requested, target }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    if (target.length > SYMLINK_BYTES_MAX) throw new VolumeError("NFS3ERR_NAMETOOLONG");
    if (target === "" || target.includes("\0")) throw new VolumeError("NFS3ERR_INVAL");
    demand(call.who, directory.before, WRITE | EXECUTE);
    const attributes = attributesForNew(call.who, directory.before, { ...requested, mode: SYMLINK_MODE }, "other");
    const id = yield* wait(call.volume.symlink(directory.id, name, target, attributes, call.identity));
    const made = yield* call.attributesIfThere(id);
    yield* call.refresh(directory);
    return (reply) => call.writeNew(reply, id, made, directory);
  },
};
