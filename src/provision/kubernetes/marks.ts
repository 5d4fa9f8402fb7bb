/** Labels and taints: what a node should have, and what of it is lacking. What somebody else set stays. */
import type { DesiredMember } from "../orchestrator.ts";
import { kubernetesLabels, LABEL_PREFIX } from "./labels.ts";
import type { ClusterNode } from "./observed.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { NodeMarks } from "./steps.ts";

/** By it a node that left the manifest is known as one of ours. */
export const OURS_LABEL = `${LABEL_PREFIX}cluster`;

export function nodeMarks({ cluster, models }: KubernetesSettings, { name, facts }: DesiredMember): NodeMarks {
  const { labels = {}, taints = [] } = models[facts.model ?? ""] ?? {};
  return { name, labels: { [OURS_LABEL]: cluster, ...kubernetesLabels(facts), ...labels }, taints };
}

/** Nothing, or what is lacking. */
export function withoutMarks(node: ClusterNode, { name, labels, taints }: NodeMarks): NodeMarks[] {
  const missingLabels = Object.entries(labels).filter(([key, value]) => node.labels[key] !== value);
  const missingTaints = taints.filter((taint) => !node.taints.includes(taintInFull(taint)));
  if (missingLabels.length === 0 && missingTaints.length === 0) return [];
  return [{ name, labels: Object.fromEntries(missingLabels), taints: missingTaints }];
}

/** `small:NoSchedule` has an empty value. */
export function taintInFull(taint: string): string {
  return taint.includes("=") ? taint : taint.replace(/:(?=[^:]*$)/, "=:");
}
