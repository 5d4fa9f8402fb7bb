import type { ServedTree } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import { parseUpReport, UP_REPORT_PATH } from "../cluster/generated/index.ts";
import type { FileChange } from "../nfs/observation.ts";
import type { NodeSet } from "./node-set.ts";

const REPORT_BYTES_MAX = 128;
const REPORT_NAME = UP_REPORT_PATH.slice(UP_REPORT_PATH.lastIndexOf("/") + 1);

/**
 * Sees a node write its report (up, or going down) among all the writes of all nodes. The file's id is remembered, so that any other
 * write costs one comparison.
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
    const content = new Uint8Array(REPORT_BYTES_MAX);
    const up = parseUpReport(content.subarray(0, tree.readSync(fileId, content, 0)));
    if (up) report(up.state === "up" ? { kind: "up", bootId: up.bootId } : { kind: "shutdown-seen" }, served.node);
  };
}
