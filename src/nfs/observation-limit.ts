import type { Clock } from "../ports.ts";
import type { NfsObservation, ObserveNfs } from "./observation.ts";

/** What a client, or a failing disk, can cause as often as there are calls. */
const REPEATABLE: ReadonlySet<NfsObservation["kind"]> = new Set([
  "mount-refused",
  "wrong-version",
  "bad-call",
  "fault",
]);

/** The log is for people: these show what is wrong, and thousands more in a second would push all else out of it. */
const TOLD_MAX = 10;
const INTERVAL_MS = 10_000;
/** Beyond that all are told again. */
const PAIRS_MAX = 1024;

/** Passes on of each kind and client so many in ten seconds; of what may come without end, the rest is not told. */
export function limitObservations(clock: Pick<Clock, "monotonicMs">, observe: ObserveNfs): ObserveNfs {
  const told = new Map<string, { sinceMs: number; count: number }>();
  return (observation) => {
    if (REPEATABLE.has(observation.kind)) {
      const pair = `${observation.kind} ${observation.client}`;
      const nowMs = clock.monotonicMs();
      let lately = told.get(pair);
      if (lately === undefined || nowMs - lately.sinceMs >= INTERVAL_MS) {
        if (told.size >= PAIRS_MAX) told.clear();
        lately = { sinceMs: nowMs, count: 0 };
        told.set(pair, lately);
      }
      lately.count += 1;
      if (lately.count > TOLD_MAX) return;
    }
    observe(observation);
  };
}
