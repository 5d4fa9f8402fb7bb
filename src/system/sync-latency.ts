import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";

const WRITES = 15;
const TIME_MAX_MS = 1500;
const BLOCK = Buffer.alloc(4096, 0x5a);

/** The median time to write 4 KiB to a file in `folder` and force it to the disk. Rejects when it may not be written. */
export async function syncLatencyMs(folder: string): Promise<number> {
  const own = await mkdtemp(join(folder, ".doctor-"));
  try {
    const file = await open(join(own, "probe"), "w");
    const times: number[] = [];
    try {
      const startMs = performance.now();
      while (times.length < WRITES && performance.now() - startMs < TIME_MAX_MS) {
        const beforeMs = performance.now();
        await file.write(BLOCK, 0, BLOCK.length, times.length * BLOCK.length);
        await file.datasync();
        times.push(performance.now() - beforeMs);
      }
    } finally {
      await file.close();
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}
