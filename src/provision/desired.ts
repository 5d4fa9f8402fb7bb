/** What a manifest wants of a cluster, beside what is known of its nodes. */
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import { containerStorageOf, isUsableStorage, storageProblem } from "../cluster/container-storage.ts";
import { isUp } from "../cluster/event.ts";
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
import { keepsItsState, managersOf } from "../cluster/orchestrator-managers.ts";
import type { ClusterStatus, NodeStatus } from "../cluster/status.ts";
import type { DesiredCluster, DesiredMember, MemberWish } from "./orchestrator.ts";

export interface KnownNodes {
  status: ClusterStatus;
  wishOf(node: string): MemberWish;
  /** Whether it has the settings that it needs as a member. */
  isConfigured(node: ManifestNode): boolean;
}

export function desiredCluster(manifest: Manifest, known: KnownNodes): DesiredCluster {
  const managers = managersOf(manifest);
  const members = manifest.nodes.map((node) => desiredMember(manifest, node, managers, known));
  return { name: manifest.cluster, members };
}

function desiredMember(
  manifest: Manifest,
  node: ManifestNode,
  managers: readonly string[],
  { status, wishOf, isConfigured }: KnownNodes,
): DesiredMember {
  const { name, role } = node;
  const its = status.nodes.get(name);
  const model = node.model ?? its?.model;
  const serial = node.serial ?? its?.serial;
  const address = its?.address ?? node.address;
  // It is one already, and can be asked: settings that are to be changed are no reason to lose sight of it.
  const isMember = its?.stage === "joined" || (its?.hasJoined === true && keepsItsState(manifest, node));
  const hasStorage = containerStorageOf(manifest, node) === undefined || isTried(its);
  return {
    name,
    role: managers.includes(name) ? "manager" : "worker",
    wish: wishOf(name),
    facts: { ...(model && { model }), ...(serial && { serial }), ...(role !== undefined && { role }) },
    ...(address && { address }),
    isReady: isUp(its?.stage) && address !== undefined && hasStorage && (isMember || isConfigured(node)),
    wasTried: its?.stage === "joined",
    hasJoined: its?.hasJoined === true,
  };
}

function isTried(status: NodeStatus | undefined): boolean {
  return status?.containerStorage !== undefined && isUsableStorage(status.containerStorage);
}

/** What keeps nodes that are up from being asked to join. */
export function storageProblems(manifest: Manifest, { nodes }: ClusterStatus): ClusterProblem[] {
  return manifest.nodes.flatMap((node) => {
    const status = nodes.get(node.name);
    if (!isUp(status?.stage) || containerStorageOf(manifest, node) === undefined || isTried(status)) return [];
    const { name } = node;
    const report = status?.containerStorage;
    const found = report && storageProblem(name, report);
    const message =
      found ??
      `Cannot join ${name} to the cluster: it did not say whether containers can be kept on its storage; see "bramble ssh ${name} journalctl -u bramble-storage", and restart it`;
    return [{ cause: "storage-not-verified", node: name, message }];
  });
}
