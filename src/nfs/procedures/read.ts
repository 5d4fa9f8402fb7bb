/**
 * READ (6): file, offset, count → bytes, end of file. RFC 1813 3.3.6.
 *
 * Fewer bytes than asked for are an answer, not an error, only at the end of the file or above `rtmax`.
 */

import { NFS_SEND_FILE_BYTES_MIN, NFS_TRANSFER_BYTES_MAX } from "../../limits.ts";
import type { Subject } from "../attributes.ts";
import type { NfsCall, Procedure } from "../call.ts";
import { demandRead } from "../permission.ts";
import { wait } from "../task.ts";
import { type RangeAnswer, type ReadAnswer, VolumeError } from "../volume.ts";
import type { Encode } from "../xdr.ts";
import { HANDLE } from "./arguments.ts";

const NOTHING: ReadAnswer = { bytes: new Uint8Array(0), endOfFile: true };

export const read: Procedure<{ file: Uint8Array; offset: number; countBytes: number }> = {
  name: "READ",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({
    file: args.opaque(HANDLE, "file"),
    offset: args.hyper("offset"),
    countBytes: args.u32("count"),
  }),
  *run(call, { file: handle, offset, countBytes }) {
    const wantedBytes = Math.min(countBytes, NFS_TRANSFER_BYTES_MAX);
    call.replyBytesMax = wantedBytes;
    const file = yield* call.file(handle);
    const { type, sizeBytes } = file.before;
    if (type !== "file") throw new VolumeError(type === "directory" ? "NFS3ERR_ISDIR" : "NFS3ERR_INVAL");
    demandRead(call.who, file.before);
    const countHere = Math.min(wantedBytes, Math.max(0, sizeBytes - offset));
    if (countHere >= NFS_SEND_FILE_BYTES_MIN && call.volume.readRange !== undefined) {
      const answer = yield* wait(call.volume.readRange(file.id, offset, countHere));
      if (answer !== undefined) return sendFrom(call, file, answer);
    }
    const { bytes, endOfFile, release } =
      offset >= sizeBytes ? NOTHING : yield* wait(call.volume.read(file.id, offset, wantedBytes));
    call.counters?.read(file.id, bytes.length, call.weight);
    return (reply) => {
      call.writeAttributes(reply, file.before);
      reply.u32(bytes.length).bool(endOfFile).opaque(bytes);
      release?.();
    };
  },
};

function sendFrom(call: NfsCall, file: Subject, { range, endOfFile }: RangeAnswer): Encode {
  call.counters?.read(file.id, range.lengthBytes, call.weight);
  return (reply) => {
    call.writeAttributes(reply, file.before);
    reply.u32(range.lengthBytes).bool(endOfFile).opaqueFile(range);
  };
}
