/** Argument shapes that several procedures share: RFC 1813 2.6 and 3.3. */
import type { FileName } from "../../bytes/file-name.ts";
import { NFS_HANDLE_BYTES_MAX } from "../../limits.ts";
import type { XdrReader } from "../xdr.ts";

export const HANDLE = NFS_HANDLE_BYTES_MAX;

/** `cookieverf3`, `createverf3` and `writeverf3` have eight bytes. */
export const VERIFIER_BYTES = 8;

/** `diropargs3`: a directory and a name in it. */
export interface DirectoryOperand {
  directory: Uint8Array;
  name: FileName;
}

export function readDirectoryOperand(args: XdrReader): DirectoryOperand {
  return { directory: args.opaque(HANDLE, "dir"), name: args.name("name") };
}
