/** When a process of the manager gives memory back: when it has started, and whenever it has worked and does so no more. */
import type { Clock } from "../ports.ts";
import { returnSpareMemory } from "../system/free-memory.ts";

const INTERVAL_MS = 5000;
/** Processor time: less than so much was not work, and left little garbage. */
const WORK_MS = 2000;
/** Of one processor. */
const QUIET_SHARE = 0.05;

/**
 * Once at once. Then V8 keeps some 10 MB after a load, and malloc 3. Nobody is answered while it is collected:
 * once after each time of work, and not before 5 s have passed with little of it. Returns what ends it.
 */
export function returnMemoryWhenQuiet(
  clock: Pick<Clock, "after" | "monotonicMs">,
  processorMs = usedProcessorMs,
  returnMemory = returnSpareMemory,
): () => void {
  returnMemory();
  let returnedAtMs = processorMs();
  let last = { passedMs: clock.monotonicMs(), usedMs: returnedAtMs };
  const look = () => {
    const now = { passedMs: clock.monotonicMs(), usedMs: processorMs() };
    const share = (now.usedMs - last.usedMs) / Math.max(1, now.passedMs - last.passedMs);
    last = now;
    if (share < QUIET_SHARE && now.usedMs - returnedAtMs >= WORK_MS) {
      returnMemory();
      returnedAtMs = processorMs();
    }
    timer = clock.after(INTERVAL_MS, look);
  };
  let timer = clock.after(INTERVAL_MS, look);
  return () => timer.cancel();
}

function usedProcessorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
