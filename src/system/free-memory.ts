/** malloc_trim(3) of glibc. */
import koffi from "koffi";

/**
 * Gives the memory that was freed back to the system. glibc keeps whatever lies below something that is still used; after
 * an image was imported that is 30 MB. Takes a few milliseconds. Does nothing with other C libraries.
 */
export function returnFreeMemory(): void {
  let trim: (padBytes: number) => number;
  try {
    trim = koffi.load(null).func("int malloc_trim(size_t padBytes)");
  } catch {
    // musl has no such call.
    return;
  }
  trim(0);
}
