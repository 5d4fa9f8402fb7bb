/** What will be observed when a step has done what it should: `plan` and `expect` together show a whole plan before anything is done. */

import { taintInFull } from "./marks.ts";
import type { ClusterNode, ClusterView, LocalState, ObservedKubernetes } from "./observed.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { KubernetesStep } from "./steps.ts";

const NEW_CLUSTER = "new";

export function expectKubernetes(
  { isShared }: Pick<KubernetesSettings, "isShared">,
  observed: ObservedKubernetes,
  step: KubernetesStep,
): ObservedKubernetes {
  const { local } = observed;
  const state = local[step.node];
  const cluster = observed.cluster;
  switch (step.kind) {
    case "init": {
      const begun = server(state!, step.version, isShared, NEW_CLUSTER);
      const nodes = [newNode(step.node, step.version, true, state!)];
      return withLocal({ ...observed, cluster: { through: step.node, id: NEW_CLUSTER, nodes } }, step.node, begun);
    }
    case "join-server": {
      const begun = server(state!, step.version, true, cluster!.id);
      return withLocal(withNode(observed, newNode(step.node, step.version, true, state!)), step.node, begun);
    }
    case "join-agent": {
      const begun: LocalState = {
        ...state!,
        identity: "agent",
        isActive: true,
        isConfigured: true,
        current: step.version,
      };
      return withLocal(withNode(observed, newNode(step.node, step.version, false, state!)), step.node, begun);
    }
    case "start": {
      const begun = { ...state!, isActive: true, isConfigured: true, isShared: state!.isShared || isShared };
      return changed(withLocal(observed, step.node, begun), step.node, { isReady: true });
    }
    case "upgrade": {
      const begun = { ...state!, isActive: true, isConfigured: true, current: step.version };
      return changed(withLocal(observed, step.node, begun), step.node, { isReady: true, version: step.version });
    }
    case "reset": {
      const { clusterId: _, current: __, ...rest } = state!;
      const empty: LocalState = {
        ...rest,
        identity: "none",
        isActive: false,
        isHealthy: false,
        isShared: false,
        isConfigured: false,
      };
      const { cluster: _cluster, ...withoutCluster } = observed;
      const isLast = cluster?.nodes.length === 1 && cluster.nodes[0]!.name === step.node;
      return withLocal(isLast ? withoutCluster : observed, step.node, empty);
    }
    case "delete":
      return withView(observed, (view) => ({
        ...view,
        through: step.node,
        nodes: view.nodes.filter(({ name }) => !step.targets.includes(name)),
      }));
    case "drain":
      return changed(observed, step.node, { isCordoned: true, drainReason: step.reason });
    case "uncordon":
      return withView(observed, (view) => ({
        ...view,
        nodes: view.nodes.map((node) => {
          if (node.name !== step.node) return node;
          const { drainReason: _, ...rest } = node;
          return { ...rest, isCordoned: false };
        }),
      }));
    case "mark":
      return step.marks.reduce((now, { name, labels, taints }) => {
        const node = now.cluster?.nodes.find((each) => each.name === name);
        if (node === undefined) return now;
        const all = new Set([...node.taints, ...taints.map(taintInFull)]);
        return changed(now, name, { labels: { ...node.labels, ...labels }, taints: [...all] });
      }, observed);
    case "check":
      return changed(observed, step.node, { checkedBootId: step.bootId });
  }
}

function server(state: LocalState, version: string, isShared: boolean, clusterId: string): LocalState {
  const begun = { isActive: true, isHealthy: true, isConfigured: true, isShared, clusterId, current: version };
  return { ...state, identity: "server", ...begun };
}

function newNode(name: string, version: string, isControlPlane: boolean, { bootId }: LocalState): ClusterNode {
  return { name, version, isControlPlane, bootId, isReady: true, isCordoned: false, labels: {}, taints: [] };
}

function withLocal(observed: ObservedKubernetes, name: string, state: LocalState): ObservedKubernetes {
  return { ...observed, local: { ...observed.local, [name]: state } };
}

function withView(observed: ObservedKubernetes, change: (view: ClusterView) => ClusterView): ObservedKubernetes {
  return observed.cluster === undefined ? observed : { ...observed, cluster: change(observed.cluster) };
}

function withNode(observed: ObservedKubernetes, node: ClusterNode): ObservedKubernetes {
  return withView(observed, (view) => ({
    ...view,
    nodes: [...view.nodes.filter(({ name }) => name !== node.name), node],
  }));
}

function changed(observed: ObservedKubernetes, name: string, change: Partial<ClusterNode>): ObservedKubernetes {
  return withView(observed, (view) => ({
    ...view,
    nodes: view.nodes.map((node) => (node.name === name ? { ...node, ...change } : node)),
  }));
}
