/** A node as the API shows it: the manifest, the plan, and where its boot stands, in one flat record. */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import {
  bootFraction,
  currentTransfer,
  isStalled,
  type StageDuration,
  stageDurations,
} from "../cluster/boot-progress.ts";
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import { type StorageReport, storageProblem } from "../cluster/container-storage.ts";
import type { Diagnosis } from "../cluster/diagnosis/index.ts";
import { isUp, type Stage } from "../cluster/event.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import type { BootPlan } from "../cluster/plan.ts";
import { type ClusterStatus, type NodeStatus, silentNode, type UnknownPi } from "../cluster/status.ts";

export interface NodeStatusView {
  name: string;
  stage: Stage;
  stageSinceMs: number;
  isStalled: boolean;
  model?: string;
  mac?: Mac;
  serial?: string;
  address?: Ipv4;
  image?: string;
  rootMode?: string;
  /** Whether `bramble ssh` can work: the image has an OpenSSH server. */
  hasSsh: boolean;
  /** Contents that the node itself has stored. */
  usedBytes: number;
  /** Of the boot under way, from 0 to 1. */
  bootFraction: number;
  transfer?: { path: string; sentBytes: number; sizeBytes: number };
  /** Of the last boot: the time at each stage reached, and what TFTP sent. */
  lastBoot?: { startedMs: number; stages: StageDuration[]; sentBytes: number; retransmits: number };
  bootsCompleted: number;
  problem?: string;
  /** What it found when it tried the storage of its containers, at its last boot. */
  containerStorage?: StorageReport;
  /** What is being done about it for the cluster. */
  clusterStep?: { title: string; sinceMs: number };
  /** Why it does not get on. */
  diagnosis?: Diagnosis;
}

export interface ManagerStatusView {
  version: string;
  cluster: string;
  address: Ipv4;
  dhcp: string;
  startedMs: number;
  /** False while images are imported and services start. */
  isServing: boolean;
  /** The last event counted in: what `events?after=` goes on from. */
  sequence: number;
  /** What is wrong with the network or the manager. */
  diagnosis?: Diagnosis;
  /** What stands in the way of the cluster, and of its members. */
  clusterProblems?: readonly ClusterProblem[];
  nodes: NodeStatusView[];
  unknownPis: UnknownPi[];
}

/** What is known of the nodes beside their status. */
export interface NodeViewSources {
  /** Absent while the manager starts. */
  nodes: { plan(name: string): BootPlan | undefined; usedBytes(name: string): number } | undefined;
  diagnoses: { ofNode(name: string): Diagnosis | undefined };
}

export function viewNodes(
  manifestNodes: readonly ManifestNode[],
  status: ClusterStatus,
  { nodes, diagnoses }: NodeViewSources,
  nowMs: number,
): NodeStatusView[] {
  return manifestNodes.map((node) => {
    const { name } = node;
    const view = viewNode(node, status.nodes.get(name), nodes?.plan(name), nodes?.usedBytes(name) ?? 0, nowMs);
    const diagnosis = diagnoses.ofNode(name);
    const clusterProblem = status.clusterProblems.find((each) => each.node === name);
    const problem = view.problem ?? (isUp(view.stage) ? clusterProblem?.message : undefined);
    return { ...view, ...(diagnosis && { diagnosis }), ...(problem !== undefined && { problem }) };
  });
}

export function viewNode(
  node: ManifestNode,
  known: NodeStatus | undefined,
  plan: BootPlan | undefined,
  usedBytes: number,
  nowMs: number,
): NodeStatusView {
  const status = known ?? silentNode(node.name, nowMs);
  const { boot, stage } = status;
  const model = node.model ?? status.model;
  const mac = node.mac ?? status.mac;
  const serial = node.serial ?? status.serial;
  const address = status.address ?? node.address;
  const transfer = stage === "firmware" && boot ? currentTransfer(boot) : undefined;
  const { containerStorage } = status;
  const problemNow = isUp(stage)
    ? containerStorage && storageProblem(node.name, containerStorage)
    : status.lastProblem?.message;
  const problem = plan?.problems[0] ?? problemNow;
  return {
    name: node.name,
    stage,
    stageSinceMs: status.stageSinceMs,
    isStalled: isStalled(status, nowMs),
    usedBytes,
    bootFraction: bootFraction(status),
    bootsCompleted: status.bootsCompleted,
    hasSsh: plan?.sshServer === "openssh",
    ...(model && { model }),
    ...(mac && { mac }),
    ...(serial && { serial }),
    ...(address && { address }),
    ...(plan && { image: plan.image, rootMode: plan.rootMode }),
    ...(transfer && {
      transfer: { path: transfer.path, sentBytes: transfer.sentBytes, sizeBytes: transfer.sizeBytes },
    }),
    ...(boot && {
      lastBoot: {
        startedMs: boot.startedMs,
        stages: stageDurations(boot, nowMs),
        sentBytes: boot.sentBytes,
        retransmits: boot.retransmits,
      },
    }),
    ...(problem !== undefined && { problem }),
    ...(containerStorage && { containerStorage }),
    ...(status.clusterStep && { clusterStep: status.clusterStep }),
  };
}
