/**
 * MKNOD (11): directory, name, what → handle and attributes of the special file, wcc of the directory.
 * RFC 1813 3.3.11.
 *
 * Device nodes are records to this server, never devices of the manager; still only root may make them, as on Linux.
 */
import { readAttributeChanges } from "../attributes.ts";
import { checkName, type Procedure } from "../call.ts";
import { attributesForNew, demand, EXECUTE, WRITE } from "../permission.ts";
import { wait } from "../task.ts";
import { type AttributeChanges, type SpecialFile, VolumeError } from "../volume.ts";
import type { XdrReader } from "../xdr.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

const SPECIAL_TYPES = new Map<number, SpecialFile["type"]>([
  [3, "block"],
  [4, "character"],
  [6, "socket"],
  [7, "fifo"],
]);
const FILE_TYPE_MAX = 7;

interface Special {
  /** Undefined for the types that MKNOD does not make (NFS3ERR_BADTYPE). */
  special: SpecialFile | undefined;
  requested: AttributeChanges;
}

function readSpecial(args: XdrReader): Special {
  const number = args.u32("type");
  if (number === 0 || number > FILE_TYPE_MAX) throw args.error("type", `${number} is no ftype3`);
  const type = SPECIAL_TYPES.get(number);
  if (type === undefined) return { special: undefined, requested: {} };
  const requested = readAttributeChanges(args);
  if (type === "fifo" || type === "socket") return { special: { type }, requested };
  return { special: { type, device: { major: args.u32("specdata1"), minor: args.u32("specdata2") } }, requested };
}

export const mknod: Procedure<DirectoryOperand & Special> = {
  name: "MKNOD",
  changes: true,
  failure: ["wcc"],
  decode: (args) => ({ ...readDirectoryOperand(args), ...readSpecial(args) }),
  *run(call, { directory: handle, name, special, requested }) {
    const directory = yield* call.directory(handle);
    checkName(name);
    if (special === undefined) throw new VolumeError("NFS3ERR_BADTYPE");
    demand(call.who, directory.before, WRITE | EXECUTE);
    const isDevice = special.type === "block" || special.type === "character";
    if (isDevice && call.who.uid !== 0) throw new VolumeError("NFS3ERR_PERM");
    const attributes = attributesForNew(call.who, directory.before, requested, "other");
    const id = yield* wait(call.volume.mknod(directory.id, name, special, attributes, call.identity));
    const made = yield* call.attributesIfThere(id);
    yield* call.refresh(directory);
    return (reply) => call.writeNew(reply, id, made, directory);
  },
};
