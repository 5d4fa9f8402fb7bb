import type { Report } from "../boot/report.ts";
import type { TreeCounters } from "../nfs/observation.ts";
import type { TreeActivity } from "./data-plane/messages.ts";

const NOTHING: TreeCounters = { operations: 0, readBytes: 0, writtenBytes: 0 };

/** Turns the totals of each root into what it did since it was last told of. */
export function rootActivity(report: Report): (trees: readonly TreeActivity[]) => void {
  const told = new Map<number, TreeCounters>();
  return (trees) => {
    for (const { node, kind, treeId, counters } of trees) {
      if (kind !== "root") continue;
      const last = told.get(treeId) ?? NOTHING;
      // A worker that was started again counts from nothing.
      const before = counters.operations < last.operations ? NOTHING : last;
      told.set(treeId, counters);
      const operations = counters.operations - before.operations;
      const readBytes = counters.readBytes - before.readBytes;
      const writtenBytes = counters.writtenBytes - before.writtenBytes;
      report({ kind: "root-activity", operations, readBytes, writtenBytes }, node);
    }
  };
}
