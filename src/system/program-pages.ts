/**
 * Lets go of pages of the program and its libraries that were needed only to start: madvise(2) with MADV_DONTNEED. They stay
 * in the kernel's page cache, and what is used again is mapped again without reading, 64 KiB at a time.
 */
import { readFileSync } from "node:fs";
import koffi from "koffi";

const MADV_DONTNEED = 4;

interface Mapping {
  start: number;
  lengthBytes: number;
}

/**
 * Only mappings that nobody can write to and that equal their file: relocated data would be lost. Takes some 10 ms.
 * Does nothing where the system cannot tell.
 */
export function releaseProgramPages(): void {
  try {
    const madvise = koffi.load(null).func("int madvise(uintptr_t start, size_t lengthBytes, int advice)");
    for (const { start, lengthBytes } of unchangedMappings()) madvise(start, lengthBytes, MADV_DONTNEED);
  } catch {
    // Nothing is lost but memory: no /proc, or a C library without the call.
  }
}

/** proc_pid_smaps(5): a line that begins with the addresses of a mapping, then what is known of it. */
function unchangedMappings(): Mapping[] {
  const mappings = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.flatMap((text) => {
    const [, start = "", end = ""] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ [1-9]\d* +\//.exec(text) ?? [];
    // Anonymous are the pages that differ from the file; some of them may be in swap.
    if (start === "" || !/^Anonymous: +0 kB$/m.test(text) || !/^Swap: +0 kB$/m.test(text)) return [];
    return [{ start: Number.parseInt(start, 16), lengthBytes: Number.parseInt(end, 16) - Number.parseInt(start, 16) }];
  });
}
