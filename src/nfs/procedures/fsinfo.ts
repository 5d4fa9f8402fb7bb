/**
 * FSINFO (19): file system → attributes, transfer sizes, limits, properties. RFC 1813 3.3.19.
 *
 * The client takes its rsize and wsize from here unless it was told smaller ones.
 */

import { FILE_BYTES_MAX, NFS_TRANSFER_BYTES_MAX } from "../../limits.ts";
import type { Procedure } from "../call.ts";
import { HANDLE } from "./arguments.ts";

const PROPERTIES = { LINK: 0x01, SYMLINK: 0x02, HOMOGENEOUS: 0x08, CANSETTIME: 0x10 } as const;
const TRANSFER_MULTIPLE_BYTES = 4096;
const LISTING_PREFERRED_BYTES = 64 * 1024;

export const fsinfo: Procedure<{ root: Uint8Array }> = {
  name: "FSINFO",
  changes: false,
  failure: ["attributes"],
  decode: (args) => ({ root: args.opaque(HANDLE, "fsroot") }),
  *run(call, { root }) {
    const file = yield* call.file(root);
    return (reply) => {
      call.writeAttributes(reply, file.before);
      for (let readThenWrite = 0; readThenWrite < 2; readThenWrite++) {
        reply.u32(NFS_TRANSFER_BYTES_MAX).u32(NFS_TRANSFER_BYTES_MAX).u32(TRANSFER_MULTIPLE_BYTES);
      }
      reply.u32(LISTING_PREFERRED_BYTES).hyper(FILE_BYTES_MAX);
      reply.u32(0).u32(1); // times are kept to the nanosecond
      reply.u32(PROPERTIES.LINK | PROPERTIES.SYMLINK | PROPERTIES.HOMOGENEOUS | PROPERTIES.CANSETTIME);
    };
  },
};
