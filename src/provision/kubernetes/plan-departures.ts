/**
 * Who leaves: nodes that the manifest no longer has, nodes that lost what they held of the cluster (an ephemeral root, another board),
 * nodes that change between control plane and worker, and those whose owner wishes them out. One at a time.
 */

import type { DesiredMember } from "../orchestrator.ts";
import { OURS_LABEL } from "./marks.ts";
import type { ClusterNode, ClusterView, LocalState } from "./observed.ts";
import { type Finding, identityOf, resetStep, type Situation } from "./plan.ts";
import { kubernetesProblem } from "./problems.ts";

export function departure(situation: Situation): Finding {
  return forgotten(situation) ?? leaving(situation) ?? orphan(situation) ?? {};
}

/** Known to the cluster, and certainly not as what it knows. Nothing is lost by forgetting them. */
function forgotten({ settings, desired, local, view, nodes, usable }: Situation): Finding | undefined {
  const members = new Set(desired.members.map(({ name }) => name));
  const vanished = view.nodes.filter(
    ({ name, isReady, labels }) => !members.has(name) && !isReady && labels[OURS_LABEL] === settings.cluster,
  );
  const emptied = usable.flatMap(({ name }) => (local[name]!.identity === "none" ? (nodes.get(name) ?? []) : []));
  const targets = [...vanished, ...emptied];
  const [workers, servers] = [
    targets.filter((node) => !node.isControlPlane),
    targets.filter((node) => node.isControlPlane),
  ];
  const server = servers[0];
  if (server !== undefined && !canLose(view.nodes, server)) {
    return workers.length > 0 ? forget(view.through, workers) : tooFew(settings.what, server, view.nodes);
  }
  const found = server === undefined ? workers : [server, ...workers];
  return found.length === 0 ? undefined : forget(view.through, found);
}

function forget(through: string, targets: readonly ClusterNode[]): Finding {
  const names = targets.map(({ name }) => name);
  return { step: { kind: "delete", node: through, title: `forget ${names.join(", ")}`, targets: names } };
}

/** Without its work, then out of the cluster, then without what it holds. */
function leaving({ settings, desired, local, view, nodes, usable }: Situation): Finding | undefined {
  const leaves = (member: DesiredMember) => {
    const state = local[member.name]!;
    if (state.identity === "none") return false;
    return member.wish === "out" || (state.identity !== identityOf(member) && !isOfAnother(state, view));
  };
  const candidates = usable.filter(leaves).sort((a, b) => Number(a.role === "manager") - Number(b.role === "manager"));
  const back = desired.members.find(
    (member) => nodes.get(member.name)?.drainReason === "leave" && usable.includes(member) && !leaves(member),
  );
  if (back !== undefined) {
    const { name: node } = back;
    return { step: { kind: "uncordon", node, title: `give ${node} work again`, through: view.through } };
  }
  const next = candidates.find(({ name }) => nodes.get(name)?.drainReason === "leave") ?? candidates[0];
  if (next === undefined) return undefined;
  const { name: node } = next;
  const known = nodes.get(node);
  if (known === undefined) return { step: resetStep(node) };
  // Nobody is left to ask: the cluster ends with its last node.
  if (desired.members.every(({ wish }) => wish === "out") && view.nodes.length === 1) return { step: resetStep(node) };
  if (known.isControlPlane && !canLose(view.nodes, known)) return tooFew(settings.what, known, view.nodes);
  const through = otherThan(node, view.nodes, view.through);
  if (through === undefined) return tooFew(settings.what, known, view.nodes);
  if (known.drainReason === "leave") return forget(through, [known]);
  if (view.nodes.some(({ drainReason }) => drainReason === "upgrade"))
    return { waiting: [`the upgrade, before ${node} leaves`] };
  return { step: { kind: "drain", node, title: `drain ${node}`, through, reason: "leave" } };
}

/** It holds certificates of a cluster that does not know it. */
function orphan({ local, view, nodes, usable }: Situation): Finding | undefined {
  const found = usable.find(
    ({ name }) => local[name]!.identity !== "none" && !nodes.has(name) && !isOfAnother(local[name]!, view),
  );
  return found && { step: resetStep(found.name) };
}

/** A cluster that somebody made is removed by nobody else. */
function isOfAnother({ clusterId }: LocalState, view: ClusterView): boolean {
  return clusterId !== undefined && clusterId !== view.id;
}

/** A node cannot be asked to forget itself. */
function otherThan(node: string, nodes: readonly ClusterNode[], through: string): string | undefined {
  if (through !== node) return through;
  return nodes.find(({ name, isControlPlane, isReady }) => name !== node && isControlPlane && isReady)?.name;
}

/** Whether the others agree to it, and go on by themselves afterwards. */
export function canLose(nodes: readonly ClusterNode[], node: ClusterNode): boolean {
  const servers = nodes.filter(({ isControlPlane }) => isControlPlane);
  const others = servers.filter(({ name, isReady }) => name !== node.name && isReady);
  const needed = Math.floor((servers.length - 1) / 2) + 1;
  return others.length >= needed;
}

function tooFew(what: string, node: ClusterNode, nodes: readonly ClusterNode[]): Finding {
  const servers = nodes.filter(({ isControlPlane }) => isControlPlane);
  const ready = servers.filter(({ name, isReady }) => name !== node.name && isReady);
  return {
    problems: [kubernetesProblem("quorum-needed", node.name, what, `${ready.length} of ${servers.length - 1}`)],
  };
}
