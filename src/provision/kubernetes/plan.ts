/**
 * From what is wanted and what was observed to the next steps. What may disturb the cluster (a change of the control plane, a restart, a
 * node without its work) is done one at a time, and only while enough of the control plane is Ready; what may not, on all nodes at once.
 * Documents: Kubernetes, "Version Skew Policy", "Safely Drain a Node"; etcd, "FAQ", on adding members one at a time.
 */
import type { ClusterProblem } from "../../cluster/cluster-problem.ts";
import type { DesiredCluster, DesiredMember, NextSteps } from "../orchestrator.ts";
import { nodeMarks, withoutMarks } from "./marks.ts";
import type { ClusterNode, ClusterView, LocalState, ObservedKubernetes } from "./observed.ts";
import { departure } from "./plan-departures.ts";
import { upgrade } from "./plan-upgrade.ts";
import { kubernetesProblem } from "./problems.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { KubernetesStep } from "./steps.ts";

/** So that the control plane of a Pi is not asked for everything at once. */
const AGENT_JOINS_MAX = 8;
const CHECKS_MAX = 4;

/** All that a rule looks at. */
export interface Situation {
  settings: KubernetesSettings;
  desired: DesiredCluster;
  local: ObservedKubernetes["local"];
  view: ClusterView;
  /** What the cluster says, by name. */
  nodes: ReadonlyMap<string, ClusterNode>;
  /** Members that answered, with nothing in the way. */
  usable: readonly DesiredMember[];
}

/** What one rule says: at most one thing to do, and why no more. */
export interface Finding {
  step?: KubernetesStep;
  problems?: readonly ClusterProblem[];
  waiting?: readonly string[];
}

export function planKubernetes(
  settings: KubernetesSettings,
  desired: DesiredCluster,
  observed: ObservedKubernetes,
): NextSteps<KubernetesStep> {
  const { local, cluster } = observed;
  const usable = desired.members.filter(({ name }) => local[name] !== undefined && local[name].obstacle === undefined);
  const obstacles = Object.entries(local).flatMap(([node, { obstacle, detail }]) =>
    obstacle === undefined ? [] : [kubernetesProblem(obstacle, node, settings.what, detail)],
  );
  const next =
    cluster === undefined
      ? withoutCluster(settings, desired, local, usable)
      : withCluster({
          settings,
          desired,
          local,
          view: cluster,
          nodes: new Map(cluster.nodes.map((node) => [node.name, node])),
          usable,
        });
  const emptied =
    cluster === undefined ? usable.filter(({ name, wasTried }) => wasTried && local[name]!.identity === "none") : [];
  const lost = [...next.lost, ...emptied.map(({ name }) => ({ node: name, reason: "it is in no cluster any more" }))];
  return { ...next, lost, problems: [...obstacles, ...next.problems] };
}

const NOTHING = { steps: [], problems: [], joined: [], waiting: [], lost: [] };

/** A new cluster is made only where nobody can hold an old one. */
function withoutCluster(
  settings: KubernetesSettings,
  desired: DesiredCluster,
  local: ObservedKubernetes["local"],
  usable: readonly DesiredMember[],
): NextSteps<KubernetesStep> {
  const managers = managersOf(desired);
  const [first] = managers;
  const holders = usable.filter(({ name }) => local[name]!.identity === "server");
  if (holders.length > 0) return awaken(settings, managers, local, holders);
  if (first === undefined) return NOTHING;
  const off = managers.find((member) => member.hasJoined && !usable.includes(member));
  if (off !== undefined) {
    return { ...NOTHING, problems: [kubernetesProblem("control-plane-off", off.name, settings.what)] };
  }
  if (!usable.includes(first)) {
    return {
      ...NOTHING,
      waiting: local[first.name] === undefined ? [`${first.name}, the first of the control plane`] : [],
    };
  }
  const { identity, versions } = local[first.name]!;
  if (identity === "agent") return { ...NOTHING, steps: [resetStep(first.name)] };
  if (!versions.includes(settings.version)) {
    return { ...NOTHING, problems: [kubernetesProblem("missing", first.name, settings.what, settings.version)] };
  }
  const { name: node } = first;
  const title = `make the cluster on ${node}`;
  return { ...NOTHING, steps: [{ kind: "init", node, title, version: settings.version }] };
}

/** The control plane is there and does not answer: what stands still is started; more cannot be done for it. */
function awaken(
  settings: KubernetesSettings,
  managers: readonly DesiredMember[],
  local: ObservedKubernetes["local"],
  holders: readonly DesiredMember[],
): NextSteps<KubernetesStep> {
  const asleep = holders.filter(({ name }) => !local[name]!.isActive);
  if (asleep.length > 0)
    return { ...NOTHING, steps: asleep.map(({ name }) => startStep(settings, local[name]!, name)) };
  const known = new Set([...managers.filter(({ hasJoined }) => hasJoined), ...holders].map(({ name }) => name));
  const needed = Math.floor(known.size / 2) + 1;
  if (holders.length >= needed) return { ...NOTHING, waiting: ["the control plane to answer"] };
  const missing = [...known].filter((name) => !holders.some((holder) => holder.name === name));
  const detail = `${holders.length} of ${known.size} of its nodes run and ${needed} are needed (missing: ${missing.join(", ")})`;
  return { ...NOTHING, problems: [kubernetesProblem("quorum-lost", missing[0]!, settings.what, detail)] };
}

function withCluster(situation: Situation): NextSteps<KubernetesStep> {
  const { view } = situation;
  const findings = [otherClusters(situation), ...disturbances(situation)];
  const disturbing = findings.flatMap(({ step }) => step ?? []);
  const agents = agentJoins(situation, disturbing);
  const harmless = [...agents.steps, ...starts(situation), ...ownersDrains(situation), ...marks(situation)];
  const steps = oneForEachNode([...disturbing, ...harmless, ...checks(situation)]);
  const joined = situation.desired.members.filter((member) => isJoined(situation, member)).map(({ name }) => name);
  const unready = view.nodes.filter(({ name, isReady }) => !isReady && situation.local[name]?.isActive);
  return {
    steps,
    problems: [...findings.flatMap(({ problems = [] }) => problems), ...agents.problems],
    waiting: [...findings.flatMap(({ waiting = [] }) => waiting), ...unready.map(({ name }) => `${name} to be Ready`)],
    joined,
    lost: situation.desired.members.flatMap((member) => lossOf(situation, member) ?? []),
  };
}

/** In the order of their weight; none after the one that has something to do. */
function disturbances(situation: Situation): Finding[] {
  const findings: Finding[] = [];
  for (const rule of [departure, serverJoin, serverSettings, upgrade]) {
    const finding = rule(situation);
    findings.push(finding);
    if (finding.step !== undefined) break;
  }
  return findings;
}

function oneForEachNode(steps: readonly KubernetesStep[]): KubernetesStep[] {
  const seen = new Set<string>();
  return steps.filter(({ node }) => !seen.has(node) && seen.add(node));
}

function otherClusters({ settings, local, view }: Situation): Finding {
  return {
    problems: Object.entries(local).flatMap(([node, { clusterId }]) =>
      clusterId === undefined || clusterId === view.id
        ? []
        : [kubernetesProblem("two-clusters", node, settings.what, `beside that of ${view.through}`)],
    ),
  };
}

/** One at a time, while all others are Ready: a member that does not come would otherwise cost the quorum. */
function serverJoin({ settings, desired, local, view, nodes, usable }: Situation): Finding {
  const next = managersOf(desired).find(
    (member) => usable.includes(member) && local[member.name]!.identity === "none" && !nodes.has(member.name),
  );
  if (next === undefined) return {};
  const { name: node } = next;
  const servers = view.nodes.filter(({ isControlPlane }) => isControlPlane);
  const unready = servers.find(({ isReady, drainReason }) => !isReady || drainReason === "upgrade");
  if (unready !== undefined)
    return { waiting: [`${unready.name} to be Ready, before ${node} joins the control plane`] };
  if (!local[view.through]?.isShared) {
    return managersOf(desired).some(({ name }) => name === view.through)
      ? { waiting: [`the database of ${view.through} to be one that others can share`] }
      : { problems: [kubernetesProblem("control-plane-moved", node, settings.what, `it is on ${view.through}`)] };
  }
  return joinStep(settings, local[node]!, view.through, node, "join-server");
}

/** Not while the control plane takes a member in: its API may stand still for that moment. */
function agentJoins({ settings, local, view, nodes, usable }: Situation, disturbing: readonly KubernetesStep[]) {
  if (disturbing.some(({ kind }) => kind === "join-server")) return { steps: [], problems: [] };
  const found = usable
    .filter(
      ({ name, role, wish }) =>
        role === "worker" && wish !== "out" && local[name]!.identity === "none" && !nodes.has(name),
    )
    .map(({ name }) => joinStep(settings, local[name]!, view.through, name, "join-agent"));
  return {
    steps: found.flatMap(({ step }) => step ?? []).slice(0, AGENT_JOINS_MAX),
    problems: found.flatMap(({ problems = [] }) => problems),
  };
}

function joinStep(
  { version, what }: KubernetesSettings,
  { versions }: LocalState,
  through: string,
  node: string,
  kind: "join-server" | "join-agent",
): Finding {
  if (!versions.includes(version)) return { problems: [kubernetesProblem("missing", node, what, version)] };
  const title = kind === "join-server" ? `join ${node} to the control plane` : `join ${node} as a worker`;
  return { step: { kind, node, title, version, through } };
}

/** Members that are known to the cluster and stand still, and workers whose settings changed: containers run on meanwhile. */
function starts({ settings, local, view, nodes, usable }: Situation): KubernetesStep[] {
  return usable.flatMap((member) => {
    const { name, role, wish } = member;
    const state = local[name]!;
    const node = nodes.get(name);
    if (node === undefined || wish === "out" || state.identity !== identityOf(member)) return [];
    if (node.drainReason === "upgrade" && node.version !== settings.version) return [];
    const isOld = role === "worker" && !state.isConfigured;
    return state.isActive && !isOld ? [] : [startStep(settings, state, name, view.through)];
  });
}

/** A server of the control plane with other settings than it should have: one at a time. */
function serverSettings({ settings, desired, local, view, usable }: Situation): Finding {
  const next = managersOf(desired).find(
    (member) =>
      usable.includes(member) &&
      local[member.name]!.identity === "server" &&
      local[member.name]!.isActive &&
      !local[member.name]!.isConfigured,
  );
  if (next === undefined) return {};
  const other = view.nodes.find(
    ({ name, isControlPlane, isReady }) => name !== next.name && isControlPlane && !isReady,
  );
  if (other) return { waiting: [`${other.name} to be Ready, before ${next.name} is started with new settings`] };
  return { step: startStep(settings, local[next.name]!, next.name, view.through) };
}

/** With the version that it has: another one is the upgrade's matter. */
function startStep(
  { version }: KubernetesSettings,
  { current }: LocalState,
  node: string,
  through?: string,
): KubernetesStep {
  const title = `start ${node}'s part of the cluster`;
  return { kind: "start", node, title, version: current ?? version, ...(through && { through }) };
}

export function resetStep(node: string): KubernetesStep {
  return { kind: "reset", node, title: `remove what ${node} holds of a cluster` };
}

function ownersDrains({ desired, view, nodes }: Situation): KubernetesStep[] {
  return desired.members.flatMap(({ name, wish }): KubernetesStep[] => {
    const node = nodes.get(name);
    if (node === undefined) return [];
    if (wish === "drained" && node.drainReason === undefined) {
      return [{ kind: "drain", node: name, title: `drain ${name}`, through: view.through, reason: "owner" }];
    }
    if (wish !== "in" || node.drainReason !== "owner") return [];
    return [{ kind: "uncordon", node: name, title: `give ${name} work again`, through: view.through }];
  });
}

function marks({ settings, desired, view, nodes }: Situation): KubernetesStep[] {
  const wanted = desired.members.flatMap((member) => {
    const node = nodes.get(member.name);
    return node === undefined || member.wish === "out" ? [] : withoutMarks(node, nodeMarks(settings, member));
  });
  if (wanted.length === 0) return [];
  const title = `label ${wanted.map(({ name }) => name).join(", ")}`;
  return [{ kind: "mark", node: view.through, title, marks: wanted }];
}

function checks({ desired, view, nodes }: Situation): KubernetesStep[] {
  return desired.members
    .flatMap(({ name, wish }): KubernetesStep[] => {
      const node = nodes.get(name);
      if (node === undefined || wish === "out" || !node.isReady || node.isCordoned) return [];
      if (node.checkedBootId === node.bootId) return [];
      const title = `try work on ${name}`;
      return [{ kind: "check", node: name, title, through: view.through, bootId: node.bootId }];
    })
    .slice(0, CHECKS_MAX);
}

function isJoined({ settings, nodes }: Situation, member: DesiredMember): boolean {
  const node = nodes.get(member.name);
  if (node === undefined || member.wish === "out" || !node.isReady) return false;
  if (withoutMarks(node, nodeMarks(settings, member)).length > 0) return false;
  return node.drainReason === "owner" || (!node.isCordoned && node.checkedBootId === node.bootId);
}

/** Of members on which work was tried, the cluster says so itself. */
function lossOf({ nodes }: Situation, { name: node, wish, wasTried }: DesiredMember) {
  const known = nodes.get(node);
  if (!wasTried || (known?.isReady && wish !== "out")) return undefined;
  return {
    node,
    reason:
      known === undefined ? "the cluster does not know it any more" : known.isReady ? "it leaves" : "it is not Ready",
  };
}

export function managersOf({ members }: DesiredCluster): DesiredMember[] {
  return members.filter(({ role, wish }) => role === "manager" && wish !== "out");
}

export function identityOf({ role }: DesiredMember): "server" | "agent" {
  return role === "manager" ? "server" : "agent";
}
