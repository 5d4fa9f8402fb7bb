import { performance } from "node:perf_hooks";

/** Makes a function that tells which part of the time since its last call this thread's event loop was busy, 0 to 1. */
export function watchBusyPart(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}
