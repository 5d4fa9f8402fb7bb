import type { NodeDirectory } from "../boot/node-directory.ts";
import { observeNfs } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import { observeTftp } from "../boot/tftp-files.ts";
import type { ClusterActivity } from "./cluster-activity.ts";
import type { DataPlaneObservation } from "./data-plane/messages.ts";
import type { NodeSet } from "./node-set.ts";
import { rootActivity } from "./root-activity.ts";
import { tellUpReport } from "./up-watch.ts";

/** Turns what a data plane tells into events, and keeps the numbers that `status` and `top` show. */
export function observeDataPlane(
  directory: NodeDirectory,
  nodes: Pick<NodeSet, "served" | "noteUsedBytes">,
  activity: ClusterActivity,
  report: Report,
): (observation: DataPlaneObservation) => void {
  const onNfs = observeNfs(directory, nodes.served, report);
  const onTftp = observeTftp(directory, report);
  const onActivity = rootActivity(report);
  return (observation) => {
    switch (observation.kind) {
      case "nfs":
        onNfs(observation.observation);
        break;
      case "tftp":
        onTftp(observation.observation);
        break;
      case "up-report":
        tellUpReport(observation.report, observation.node, report);
        break;
      case "warning":
        report({ kind: "warning", message: observation.message });
        break;
      case "activity":
        activity.take(observation.trees);
        onActivity(observation.trees);
        for (const { node, usedBytes } of observation.nodes) nodes.noteUsedBytes(node, usedBytes);
        break;
    }
  };
}
