/** What the plan and the scripts know of the manifest. */
export interface ModelMarks {
  labels: Readonly<Record<string, string>>;
  taints: readonly string[];
}

export interface KubernetesSettings {
  /** For people: k3s or Kubernetes. */
  what: string;
  /** The name of the cluster, a label of its nodes. */
  cluster: string;
  /** Of the programs, as the manifest says. */
  version: string;
  /** By model. */
  models: Readonly<Record<string, ModelMarks>>;
  /** Whether the database of the control plane is one that more nodes can share. */
  isShared: boolean;
}
