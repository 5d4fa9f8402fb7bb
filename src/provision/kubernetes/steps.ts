/** What can be done to make a Kubernetes cluster as the manifest wants it. */
import type { ClusterStep } from "../orchestrator.ts";
import type { DrainReason } from "./observed.ts";

interface OnNode extends ClusterStep {
  /** The version of the programs that runs afterwards. */
  version: string;
}

export interface NodeMarks {
  name: string;
  labels: Readonly<Record<string, string>>;
  taints: readonly string[];
}

/** `through`: the node of the control plane that is asked. */
export type KubernetesStep =
  | (OnNode & { kind: "init" })
  | (OnNode & { kind: "join-server"; through: string })
  | (OnNode & { kind: "join-agent"; through: string })
  /** Writes the settings and starts the service again with what the node holds of the cluster. */
  | (OnNode & { kind: "start"; through?: string })
  | (OnNode & { kind: "upgrade"; through: string; isFirst: boolean })
  /** What the node holds of a cluster is removed from it. */
  | (ClusterStep & { kind: "reset" })
  /** The cluster forgets these nodes. Runs on the control plane. */
  | (ClusterStep & { kind: "delete"; targets: readonly string[] })
  | (ClusterStep & { kind: "drain"; through: string; reason: DrainReason })
  | (ClusterStep & { kind: "uncordon"; through: string })
  | (ClusterStep & { kind: "mark"; marks: readonly NodeMarks[] })
  /** Work is scheduled to the node and reached. */
  | (ClusterStep & { kind: "check"; through: string; bootId: string });
