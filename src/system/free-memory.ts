/** Garbage collection by V8, and malloc_trim(3) of glibc. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import koffi from "koffi";
import { releaseProgramPages } from "./program-pages.ts";

/** Gives back what a process needed for its work until now: garbage, free memory, and pages of its program. */
export function returnSpareMemory(): void {
  returnFreeMemory();
  releaseProgramPages();
}

/**
 * Gives the memory that was freed back to the system. glibc keeps whatever lies below something that is still used; after
 * an image was imported that is 30 MB. Nothing else runs meanwhile, for tens of milliseconds.
 */
export function returnFreeMemory(): void {
  collectGarbage();
  let trim: (padBytes: number) => number;
  try {
    trim = koffi.load(null).func("int malloc_trim(size_t padBytes)");
  } catch {
    // musl has no such call.
    return;
  }
  trim(0);
}

/** Node has no other way to ask for it in a process that was started without the flag. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  collect();
}
