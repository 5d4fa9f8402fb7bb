/**
 * CREATE (8): directory, name, how → handle and attributes of the file, wcc of the directory. RFC 1813 3.3.8.
 *
 * UNCHECKED takes an existing plain file (and truncates it if size 0 is asked for), GUARDED refuses it, and EXCLUSIVE
 * recognises its own earlier attempt by the verifier; the client sets the attributes afterwards.
 */
import { checkFileSize, readAttributeChanges } from "../attributes.ts";
import { checkName, type Procedure } from "../call.ts";
import { attributesForNew, demand, demandWrite, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { type AttributeChanges, type CreateHow, VolumeError } from "../volume.ts";
import { type DirectoryOperand, readDirectoryOperand, VERIFIER_BYTES } from "./arguments.ts";

const CREATE_MODE = { UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2 } as const;

export const create: Procedure<DirectoryOperand & { how: CreateHow; requested: AttributeChanges }> = {
  name: "CREATE",
  changes: true,
  failure: ["wcc"],
  decode: (args) => {
    const operand = readDirectoryOperand(args);
    const mode = args.u32("createmode");
    switch (mode) {
      case CREATE_MODE.UNCHECKED:
        return { ...operand, how: { kind: "unchecked" }, requested: readAttributeChanges(args) };
      case CREATE_MODE.GUARDED:
        return { ...operand, how: { kind: "guarded" }, requested: readAttributeChanges(args) };
      case CREATE_MODE.EXCLUSIVE:
        return {
          ...operand,
          how: { kind: "exclusive", verifier: Uint8Array.from(args.bytes(VERIFIER_BYTES, "verf")) },
          requested: {},
        };
      default:
        throw args.error("createmode", `${mode} is no createmode3`);
    }
  },
  *run(call, { directory: handle, name, how, requested }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    if (requested.sizeBytes !== undefined) checkFileSize(requested.sizeBytes);
    const existing = how.kind === "unchecked" ? yield* wait(call.volume.lookup(directory.id, name)) : undefined;
    if (existing === undefined) {
      demand(call.who, directory.before, WRITE | EXECUTE);
    } else {
      demand(call.who, directory.before, EXECUTE);
      const file = yield* wait(call.volume.getattr(existing));
      if (file.type !== "file") throw new VolumeError("NFS3ERR_EXIST");
      if (requested.sizeBytes !== undefined) demandWrite(call.who, file);
    }
    const attributes = attributesForNew(call.who, directory.before, requested, "file");
    const id = yield* wait(call.volume.create(directory.id, name, how, attributes, call.identity));
    const made = yield* call.attributesIfThere(id);
    yield* call.refresh(directory);
    call.changed(id, { directoryId: directory.id, name });
    call.counters?.sawName(id, directory.id, name);
    return (reply) => call.writeNew(reply, id, made, directory);
  },
};
