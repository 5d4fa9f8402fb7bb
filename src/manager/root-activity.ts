import type { Report } from "../boot/report.ts";
import { latencyQuantileMs, mergeLatencies } from "../nfs/latency-histogram.ts";
import { countFailures, failuresByStatus } from "./cluster-activity.ts";
import type { ServedTreeActivity } from "./data-plane/messages.ts";

/** Tells of what each root did since the last time. */
export function rootActivity(report: Report): (trees: readonly ServedTreeActivity[]) => void {
  return (trees) => {
    for (const { node, kind, activity, busy } of trees) {
      if (kind !== "root") continue;
      const { operations, readBytes, writtenBytes, procedures, refusals } = activity;
      const latency = mergeLatencies(procedures.map((each) => each.latency));
      const p50Ms = latencyQuantileMs(latency, 0.5);
      const p99Ms = latencyQuantileMs(latency, 0.99);
      const [mostRead] = busy.read;
      const [mostWritten] = busy.written;
      report(
        {
          kind: "root-activity",
          operations,
          readBytes,
          writtenBytes,
          failures: countFailures(refusals),
          ...failedOf(refusals),
          ...(p50Ms !== undefined && { p50Ms }),
          ...(p99Ms !== undefined && { p99Ms }),
          ...(mostRead && { mostRead: mostRead.path }),
          ...(mostWritten && { mostWritten: mostWritten.path }),
        },
        node,
      );
    }
  };
}

function failedOf(refusals: Parameters<typeof failuresByStatus>[0]): { failed?: Partial<Record<string, number>> } {
  const failed = failuresByStatus(refusals);
  return Object.keys(failed).length === 0 ? {} : { failed };
}
