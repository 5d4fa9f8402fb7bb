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
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
import type { BootPlan } from "../cluster/plan.ts";
import { type SettingReport, settingProblem } from "../cluster/setting-report.ts";
import { type ClusterStatus, type NodeStatus, silentNode } from "../cluster/status.ts";
import type { UnknownPi } from "../cluster/unknown-pis.ts";
import { type ConfigurationView, configurationView } from "../provision/configuration.ts";
import { VERSION } from "./version.ts";

export interface NodeStatusView {
  name: string;
  stage: Stage;
  stageSinceMs: number;
  isStalled: boolean;
  /** It is up and does not answer: since when nothing was heard of it. */
  noAnswerSinceMs?: number;
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
  /** How far Ansible is with it, where the manifest has something for Ansible to do. */
  configuration?: ConfigurationView;
  /** What it says of `logs`, `swap` and `packages` of the manifest. */
  settings?: readonly SettingReport[];
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

/** What the manager knows. */
export interface ManagerViewSources {
  manifest: Manifest;
  status: ClusterStatus;
  address: Ipv4;
  startedMs: number;
  isServing: boolean;
  /** Absent while the manager starts. */
  nodes: { plan(name: string): BootPlan | undefined; usedBytes(name: string): number } | undefined;
  diagnoses: { ofNode(name: string): Diagnosis | undefined; ofNetwork(): Diagnosis | undefined };
  configurator: { taskOn(node: string): string | undefined };
  isNode(pi: UnknownPi): boolean;
  nowMs: number;
}

export function viewManager(sources: ManagerViewSources): ManagerStatusView {
  const { manifest, status, address, startedMs, isServing, diagnoses } = sources;
  const diagnosis = diagnoses.ofNetwork();
  return {
    version: VERSION,
    cluster: manifest.cluster,
    address,
    dhcp: manifest.network.dhcp,
    startedMs,
    isServing,
    sequence: status.sequence,
    ...(diagnosis && { diagnosis }),
    ...(status.clusterProblems.length > 0 && { clusterProblems: status.clusterProblems }),
    nodes: manifest.nodes.map((node) => viewOf(node, sources)),
    unknownPis: [...status.unknownPis.values()].filter((pi) => !sources.isNode(pi)),
  };
}

function viewOf(node: ManifestNode, sources: ManagerViewSources): NodeStatusView {
  const { manifest, status, nodes, diagnoses, configurator, nowMs } = sources;
  const { name } = node;
  const known = status.nodes.get(name);
  const view = viewNode(node, known, nodes?.plan(name), nodes?.usedBytes(name) ?? 0, nowMs);
  const configuration = configurationView(manifest, node, known, configurator.taskOn(name));
  const clusterProblem = isUp(view.stage) ? status.clusterProblems.find((each) => each.node === name) : undefined;
  const problem = view.problem ?? configuration?.message ?? clusterProblem?.message;
  const diagnosis = diagnoses.ofNode(name);
  return {
    ...view,
    ...(problem !== undefined && { problem }),
    ...(configuration && { configuration }),
    ...(diagnosis && { diagnosis }),
  };
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
  const { containerStorage, settings, noAnswerSinceMs } = status;
  const problem = plan?.problems[0] ?? (isUp(stage) ? upProblem(status) : status.lastProblem?.message);
  return {
    name: node.name,
    stage,
    stageSinceMs: status.stageSinceMs,
    isStalled: isStalled(status, nowMs),
    ...(noAnswerSinceMs !== undefined && { noAnswerSinceMs }),
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
    ...(settings && settings.length > 0 && { settings }),
  };
}

/** What a node that is up could not do of what the manifest says. */
function upProblem({ node, containerStorage, settings = [] }: NodeStatus): string | undefined {
  const ofStorage = containerStorage && storageProblem(node, containerStorage);
  return ofStorage ?? settings.flatMap((setting) => settingProblem(node, setting) ?? [])[0];
}
