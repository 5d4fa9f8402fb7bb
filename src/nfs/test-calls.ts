/** Test support: a valid call of every NFS procedure, to be damaged. */
import type { FileName } from "../bytes/file-name.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import { type Bench, encodeRecord, newAttributes } from "./test-client.ts";
import type { Encode } from "./xdr.ts";

/** With their record marks, in the order of the procedures. */
export function validCalls({ root }: Bench): Uint8Array[] {
  const operand = (entry: string): Encode => {
    return (args) => args.opaque(root).name(entry as FileName);
  };
  const all = (...parts: Encode[]): Encode => {
    return (args) => {
      for (const part of parts) part(args);
    };
  };
  const words = (...values: number[]) =>
    all(
      ...values.map(
        (value): Encode =>
          (args) =>
            args.u32(value),
      ),
    );
  const handle: Encode = (args) => args.opaque(root);
  const data: Encode = (args) => args.opaque(new Uint8Array(9));
  const args: Record<string, Encode> = {
    SETATTR: all(handle, newAttributes(0o700), words(1, 5, 6)),
    LOOKUP: operand("f"),
    ACCESS: all(handle, words(0x3f)),
    READ: all(handle, words(0, 0, 4096)),
    WRITE: all(handle, words(0, 0, 9, 2), data),
    CREATE: all(operand("f"), words(0), newAttributes(0o644)),
    MKDIR: all(operand("d"), newAttributes(0o755)),
    SYMLINK: all(operand("s"), newAttributes(), data),
    MKNOD: all(operand("n"), words(4), newAttributes(0o600), words(1, 3)),
    REMOVE: operand("f"),
    RMDIR: operand("d"),
    RENAME: all(operand("f"), operand("g")),
    LINK: all(handle, operand("l")),
    READDIR: all(handle, words(0, 0, 0, 0, 4096)),
    READDIRPLUS: all(handle, words(0, 0, 0, 0, 4096, 8192)),
    COMMIT: all(handle, words(0, 0, 0)),
  };
  return NFS_PROCEDURES.map(({ name }, number) => encodeRecord(number, args[name] ?? handle, { uid: number % 2 }));
}
