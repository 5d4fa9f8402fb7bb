import type { Clock } from "../ports.ts";

/**
 * Passes a warning on at once, and what comes within `intervalMs` after it as one more, with their number: a dead link
 * fails thousands of times, and the feed is for people. Warnings are of one kind: the last stands for all of them.
 */
export function limitWarnings(clock: Clock, intervalMs: number, warn: (message: string) => void) {
  let held: { count: number; last: string } | undefined;
  const endInterval = () => {
    const { count, last } = held!;
    held = undefined;
    if (count === 0) return;
    warn(count === 1 ? last : `${last} (${count} times in ${Math.round(intervalMs / 1000)} s)`);
    begin();
  };
  const begin = () => {
    held = { count: 0, last: "" };
    clock.after(intervalMs, endInterval);
  };
  return (message: string): void => {
    if (held) {
      held = { count: held.count + 1, last: message };
    } else {
      warn(message);
      begin();
    }
  };
}
