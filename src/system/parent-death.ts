import koffi from "koffi";

/** prctl(2) */
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** Has the kernel end this process when the one that started it ends, whatever either is doing then. */
export function dieWithParent(): void {
  const prctl = koffi.load(null).func("int prctl(int option, unsigned long value)");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}
