/** What nodes and cluster say, as the plan needs it. Plain data, so that `expect` is a copy with a change. */

/** What a node holds of a cluster: certificates and a database, certificates alone, or nothing. */
export type Identity = "server" | "agent" | "none";

/** Why a node cannot be part of the cluster now. The first three are words that the node's script prints. */
export type Obstacle = "architecture" | "storage" | "cgroup" | "unreachable" | "unclear";

/** What a node that is ready says of itself. */
export interface LocalState {
  obstacle?: Obstacle;
  /** What was said of the obstacle; of `unreachable` the whole message. */
  detail?: string;
  /** Of this boot; empty when the node did not say. */
  bootId: string;
  identity: Identity;
  /** Whether the service of that identity runs or starts. */
  isActive: boolean;
  /** Of the control plane: its API answers and says that it and its database are well. */
  isHealthy: boolean;
  /** Whether the control plane's database is one that more nodes can share. */
  isShared: boolean;
  /** Of a control plane that answers: which cluster it is, as the UID of the namespace `kube-system`. */
  clusterId?: string;
  /** The versions that are in place on the node, to be run. */
  versions: readonly string[];
  /** Which of them runs, or would. */
  current?: string;
  /** Whether its file of settings is as the manifest wants it. */
  isConfigured: boolean;
}

/** Why Bramble has taken work from a node: for an upgrade, to take it out, or because its owner wished so. */
export type DrainReason = "upgrade" | "leave" | "owner";

/** What the cluster says of a node. */
export interface ClusterNode {
  name: string;
  isControlPlane: boolean;
  isReady: boolean;
  isCordoned: boolean;
  drainReason?: DrainReason;
  version: string;
  bootId: string;
  /** The boot at which work was tried on it. */
  checkedBootId?: string;
  labels: Readonly<Record<string, string>>;
  /** As `key=value:Effect`. */
  taints: readonly string[];
}

export interface ClusterView {
  /** The node of the control plane that was asked. */
  through: string;
  id: string;
  nodes: readonly ClusterNode[];
}

export interface ObservedKubernetes {
  /** By name, each member that is ready. */
  local: Readonly<Record<string, LocalState>>;
  /** Absent while no control plane answers. */
  cluster?: ClusterView;
}
