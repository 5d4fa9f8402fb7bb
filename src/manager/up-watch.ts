/** The reports that nodes write into their own roots: up, or going down. */
import type { ServedTree } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { parseUpReport, UP_REPORT_PATH, type UpReport } from "../cluster/generated/index.ts";
import type { ClusterStatus } from "../cluster/status.ts";
import type { FileChange } from "../nfs/observation.ts";
import type { Tree } from "../tree/tree.ts";
import type { NodeSet } from "./node-set.ts";

const REPORT_BYTES_MAX = 128;
const REPORT_NAME = UP_REPORT_PATH.slice(UP_REPORT_PATH.lastIndexOf("/") + 1);

/**
 * Sees a node write its report among all the writes of all nodes. The file's id is remembered, so that any other write
 * costs one comparison.
 */
export function watchUpReports(nodes: NodeSet, report: Report): (change: FileChange) => void {
  const reportIds = new Map<ServedTree, number | undefined>();
  return ({ treeId, fileId, place }) => {
    const served = nodes.served.get(treeId);
    if (served?.kind !== "root") return;
    const tree = nodes.rootTree(served.node);
    if (!tree) return;
    if (!reportIds.has(served) || place?.name === REPORT_NAME) reportIds.set(served, tree.lookupPath(UP_REPORT_PATH));
    if (reportIds.get(served) !== fileId) return;
    const up = readReport(tree, fileId);
    if (up) tell(up, served.node, report);
  };
}

/**
 * Tells what nodes wrote in the last moments of a manager that was killed: the write was answered, so no node repeats
 * it, and the journal may not have it. A report of an earlier boot says nothing new.
 */
export function catchUpWithReports(nodes: NodeSet, status: ClusterStatus, report: Report): void {
  for (const { node, kind } of nodes.served.values()) {
    const tree = kind === "root" ? nodes.rootTree(node) : undefined;
    const fileId = tree?.lookupPath(UP_REPORT_PATH);
    const found = tree && fileId !== undefined ? readReport(tree, fileId) : undefined;
    if (!found) continue;
    const known = status.nodes.get(node);
    const isOfThisBoot = known?.boot?.bootId === found.bootId;
    const isNews =
      found.state === "up"
        ? !isOfThisBoot && known?.previousBoot?.bootId !== found.bootId
        : found.state === "down" && isOfThisBoot && known?.stage === "up";
    if (isNews) tell(found, node, report);
  }
}

function readReport(tree: Tree, fileId: number): UpReport | undefined {
  const content = new Uint8Array(REPORT_BYTES_MAX);
  return parseUpReport(content.subarray(0, tree.readSync(fileId, content, 0)));
}

function tell(up: UpReport, node: string, report: Report): void {
  report(occurrenceOf(up, node), node);
}

function occurrenceOf(up: UpReport, node: string): BootOccurrence {
  switch (up.state) {
    case "up":
      return { kind: "up", bootId: up.bootId };
    case "down":
      return { kind: "shutdown-seen" };
    case "copy-failed":
      return {
        kind: "warning",
        message: `Cannot keep the root of ${node} in memory: copying it failed; its console says why, and it starts again`,
      };
    case "memory-short": {
      const [needed, available] = [up.neededKiB, up.availableKiB].map((kib) => Math.ceil(kib / 1024));
      const message = `Cannot keep the root of ${node} in memory: it needs ${needed} MiB, and ${available} MiB are free; use root: ephemeral, or a smaller image`;
      return { kind: "warning", message };
    }
  }
}
