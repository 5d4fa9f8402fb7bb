/** A network of its own for the process a test file runs in. Needs root; vitest gives each file a process. */
import koffi from "koffi";

const CLONE_NEWNET = 0x40000000;

let isEntered = false;

/** From here on this thread, and every program it starts, sees an empty network. Once is enough. */
export function enterNetworkNamespace(): void {
  if (isEntered) return;
  const unshare = koffi.load("libc.so.6").func("int unshare(int flags)");
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`Cannot make a network namespace: errno ${koffi.errno()}`);
  isEntered = true;
}
