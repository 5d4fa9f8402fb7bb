/**
 * RENAME (14): from directory and name, to directory and name → wcc of both directories. RFC 1813 3.3.14.
 *
 * An existing target of the same kind is replaced in the same step (a directory only when it is empty).
 */
import type { FileName } from "../../bytes/file-name.ts";
import { checkName, type NfsCall, type Procedure } from "../call.ts";
import { demand, EXECUTE, WRITE } from "../permission.ts";
import { type Task, wait } from "../task.ts";
import { type DirectoryOperand, readDirectoryOperand } from "./arguments.ts";

export const rename: Procedure<{ from: DirectoryOperand; to: DirectoryOperand }> = {
  name: "RENAME",
  changes: true,
  failure: ["wcc", "wcc"],
  decode: (args) => ({ from: readDirectoryOperand(args), to: readDirectoryOperand(args) }),
  *run(call, { from, to }) {
    const source = yield* call.directory(from.directory);
    const target = yield* call.directory(to.directory);
    checkName(from.name);
    checkName(to.name);
    demand(call.who, source.before, WRITE | EXECUTE);
    demand(call.who, target.before, WRITE | EXECUTE);
    yield* call.demandDeletable(source, from.name);
    yield* call.demandDeletable(target, to.name);
    if (source.id !== target.id) yield* demandMovable(call, source.id, from.name);
    yield* wait(call.volume.rename(source.id, from.name, target.id, to.name, call.identity));
    yield* call.refresh(source);
    yield* call.refresh(target);
    const id = yield* wait(call.volume.lookup(target.id, to.name));
    if (id !== undefined) {
      call.changed(id, { directoryId: target.id, name: to.name });
      call.counters?.sawName(id, target.id, to.name);
    }
    return (reply) => {
      call.writeWcc(reply, source);
      call.writeWcc(reply, target);
    };
  },
};

/** A directory that changes its parent has its `..` written to, which needs permission on itself. */
function* demandMovable(call: NfsCall, directoryId: number, name: FileName): Task<void> {
  if (call.who.uid === 0) return;
  const id = yield* wait(call.volume.lookup(directoryId, name));
  const moved = id === undefined ? undefined : yield* call.attributesIfThere(id);
  if (moved?.type === "directory") demand(call.who, moved, WRITE);
}
