import { statfsSync } from "node:fs";

/** Numbers of linux/magic.h and of the file systems themselves. */
const KINDS: ReadonlyMap<number, string> = new Map([
  [0x6969, "nfs"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "cifs"],
  [0x01021997, "9p"],
  [0x01021994, "tmpfs"],
  [0x794c7630, "overlay"],
]);

/** `nfs`, `cifs`, `9p`, `tmpfs` or `overlay`; `undefined` for those that keep files on a disk of this machine. */
export function fileSystemKind(folder: string): string | undefined {
  return KINDS.get(statfsSync(folder).type >>> 0);
}
