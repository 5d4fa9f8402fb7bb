import type { TreesById } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { TreeCounters } from "../nfs/observation.ts";

/** How often the work of each root is put on the feed. */
const INTERVAL_MS = 1000;
const NOTHING: TreeCounters = { operations: 0, readBytes: 0, writtenBytes: 0 };

/** Tells of each root that did something since it was last told of. Returns the function that stops it. */
export function reportRootActivity(
  trees: TreesById,
  countersOf: (treeId: number) => Readonly<TreeCounters>,
  report: Report,
): () => void {
  const told = new Map<number, TreeCounters>();
  const timer = setInterval(() => {
    for (const { node, kind, treeId } of trees.values()) {
      if (kind !== "root") continue;
      const total = countersOf(treeId);
      const before = told.get(treeId) ?? NOTHING;
      if (total.operations === before.operations) continue;
      told.set(treeId, { ...total });
      const operations = total.operations - before.operations;
      const readBytes = total.readBytes - before.readBytes;
      const writtenBytes = total.writtenBytes - before.writtenBytes;
      report({ kind: "root-activity", operations, readBytes, writtenBytes }, node);
    }
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}
