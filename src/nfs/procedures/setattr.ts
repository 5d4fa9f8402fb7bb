/**
 * SETATTR (2): object, new attributes, guard → wcc. RFC 1813 3.3.2.
 *
 * Everything not mentioned stays. With a guard, nothing happens unless the file's ctime is the one given.
 * Setting the size truncates or extends with zeros.
 */
import { checkFileSize, readAttributeChanges, readTime } from "../attributes.ts";
import type { Procedure } from "../call.ts";
import { authorizeChanges } from "../permission.ts";
import { wait } from "../task.ts";
import type { AttributeChanges } from "../volume.ts";
import { HANDLE } from "./arguments.ts";

export const setattr: Procedure<{ object: Uint8Array; requested: AttributeChanges; guard: bigint | undefined }> = {
  name: "SETATTR",
  changes: true,
  failure: ["wcc"],
  decode: (args) => ({
    object: args.opaque(HANDLE, "object"),
    requested: readAttributeChanges(args),
    guard: args.bool("guard") ? readTime(args, "guard ctime") : undefined,
  }),
  *run(call, { object, requested, guard }) {
    const file = yield* call.file(object);
    if (requested.sizeBytes !== undefined) checkFileSize(requested.sizeBytes);
    const changes = authorizeChanges(call.who, file.before, requested);
    file.after = yield* wait(
      call.volume.setattr(file.id, changes, guard, guard === undefined ? undefined : call.identity),
    );
    call.changed(file.id);
    return (reply) => call.writeWcc(reply, file);
  },
};
