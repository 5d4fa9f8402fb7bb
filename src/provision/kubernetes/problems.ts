/** Why a node does not become part of a Kubernetes cluster, or the cluster does not do as it should: messages, each with what to do. */
import type { ClusterProblem } from "../../cluster/cluster-problem.ts";

/** `what` is the program for people: k3s or Kubernetes. `detail` is what was said on the node. */
type Wording = (node: string, what: string, detail: string) => string;

const because = (detail: string) => (detail === "" ? "" : ` (${detail})`);
const said = (detail: string) => detail || "it does not say why";

const WORDINGS = {
  missing: (node, what, detail) =>
    `Cannot join ${node}: ${what} ${detail} is not on it; run "bramble configure ${node}", which puts it there with its checksum`,
  checksum: (node, what, detail) =>
    `Cannot run ${what} on ${node}: its checksum is not the manifest's${because(detail)}; correct sha256 in orchestrator, or run "bramble configure ${node}" to place the file again`,
  architecture: (node, what, detail) =>
    `Cannot run ${what} on ${node}: the program is for another architecture${because(detail)}; give orchestrator the file for arm64, and the node an image of 64 bits`,
  storage: (node, what, detail) =>
    `Cannot join ${node}: ${what} needs a file system for containers, and finds ${detail || "none"}; set storage: for it and restart it ("bramble status" shows whether it is ready)`,
  cgroup: (node, what) =>
    `Cannot join ${node}: its kernel does not count the memory of containers, which ${what} needs; leave cgroups: at memory (remove cgroups: none) and restart it`,
  unreachable: (_node, _what, detail) => detail,
  unclear: (node, _what, detail) =>
    `Cannot read what ${node} says of itself: ${said(detail)}; look with "bramble ssh ${node}" whether its disk is full or its shell is broken`,
  "token-expired": (node, _what, detail) =>
    `Cannot join ${node}: the token for it has expired or is not known${because(detail)}; it is tried again with a new one; if that goes on, compare the clocks of the nodes (timedatectl)`,
  refused: (node, _what, detail) =>
    `Cannot join ${node}: the control plane refuses it${because(detail)}; if this goes on, take it out with "bramble cluster remove ${node}" and let it join anew`,
  "password-refused": (node, _what, detail) =>
    `Cannot join ${node}: the cluster knows another node of that name${because(detail)}; it is forgotten and tried again`,
  "other-authority": (node, _what, detail) =>
    `Cannot join ${node}: the control plane is not the one that gave the token${because(detail)}; look whether two clusters have the address of the first of orchestrator.managers`,
  etcd: (node, _what, detail) =>
    `Cannot join ${node}: the database of the control plane, etcd, is not well${because(detail)}; see that its other nodes run ("bramble cluster status")`,
  overlay: (node, what, detail) =>
    `Cannot start ${what} on ${node}: containers cannot be kept there${because(detail)}; set storage: for it and restart it`,
  "not-started": (node, what, detail) =>
    `Cannot start ${what} on ${node}: ${said(detail)}; see "bramble ssh ${node} sudo journalctl -b -u 'k3s*' -u kubelet"`,
  "not-ready": (node, _what, detail) =>
    `Cannot see ${node} Ready in time: ${said(detail)}; it is looked at again; see "kubectl describe node ${node}"`,
  drain: (node, _what, detail) =>
    `Cannot drain ${node}: ${said(detail)}; a PodDisruptionBudget may forbid it, or a pod does not end; it is tried again`,
  check: (node, _what, detail) =>
    `Cannot run work on ${node}: ${said(detail)}; see "kubectl -n kube-system describe pod bramble-check-${node}", and look at the pod network`,
  api: (node, _what, detail) =>
    `Cannot ask the control plane about ${node}: ${said(detail)}; it is tried again; see "bramble ssh" on a manager, "sudo journalctl -b -u k3s -u kubelet"`,
  busy: (node, what, detail) =>
    `Cannot change ${what} on ${node}: an earlier change is not finished${because(detail)}; it is tried again; restart the node if this goes on`,
  reset: (node, what, detail) =>
    `Cannot remove what ${node} holds of ${what}: ${said(detail)}; restart the node, it is tried again`,
  "quorum-lost": (_node, _what, detail) =>
    `Cannot reach the control plane: ${detail}; bring back the nodes that are missing; if they are lost for good, restore etcd as the documentation of your Kubernetes says`,
  "control-plane-off": (node, _what, detail) =>
    `Cannot reach the cluster: ${node} holds its control plane and is off, or is being configured${because(detail)}; start it if it is off: a new cluster is not made beside it`,
  "two-clusters": (node, _what, detail) =>
    `Cannot make one cluster: ${node} is the control plane of another one${because(detail)}; take it out with "bramble cluster remove ${node}" if it is not the one you want`,
  "control-plane-moved": (node, _what, detail) =>
    `Cannot move the control plane to ${node}: a database of one node cannot be shared${because(detail)}; name three managers first, and the new one alone after that`,
  "quorum-needed": (node, _what, detail) =>
    `Cannot take ${node} from the control plane yet: too few others are Ready${because(detail)}; bring them back first`,
  "version-skew": (node, _what, detail) =>
    `Cannot change the version on ${node}: ${detail}; Kubernetes goes up by one minor version at a time, and never down`,
} satisfies Record<string, Wording>;

export type KubernetesCause = keyof typeof WORDINGS;

export function kubernetesProblem(
  cause: KubernetesCause,
  node: string,
  what: string,
  detail = "",
): ClusterProblem & { node: string } {
  return { cause, node, message: WORDINGS[cause](node, what, detail) };
}

export function isKubernetesCause(word: string): word is KubernetesCause {
  return Object.hasOwn(WORDINGS, word);
}
