/** The answer to `GET /api/v1/nodes`. Document: Kubernetes API reference, Node v1 core. */
import { z } from "zod";
import { CHECKED_ANNOTATION, DRAINED_ANNOTATION } from "./kubectl-scripts.ts";
import type { ClusterNode, DrainReason } from "./observed.ts";

const texts = z.record(z.string(), z.string()).default({});

const nodeList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), labels: texts, annotations: texts }),
      spec: z
        .object({
          unschedulable: z.boolean().default(false),
          taints: z.array(z.object({ key: z.string(), value: z.string().default(""), effect: z.string() })).default([]),
        })
        .prefault({}),
      status: z.object({
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
        nodeInfo: z.object({ kubeletVersion: z.string(), bootID: z.string() }),
      }),
    }),
  ),
});

/** `undefined` for what is not such an answer: cut off, say. */
export function parseNodeList(text: string): ClusterNode[] | undefined {
  const parsed = nodeList.safeParse(json(text));
  if (!parsed.success) return undefined;
  return parsed.data.items.map(
    ({ metadata: { name, labels, annotations }, spec, status: { conditions, nodeInfo } }) => {
      const drainReason = annotations[DRAINED_ANNOTATION];
      const checkedBootId = annotations[CHECKED_ANNOTATION];
      return {
        name,
        isControlPlane: labels["node-role.kubernetes.io/control-plane"] !== undefined,
        isReady: conditions.some(({ type, status }) => type === "Ready" && status === "True"),
        isCordoned: spec.unschedulable,
        ...(spec.unschedulable && isDrainReason(drainReason) && { drainReason }),
        version: nodeInfo.kubeletVersion,
        bootId: nodeInfo.bootID,
        ...(checkedBootId !== undefined && { checkedBootId }),
        labels,
        taints: spec.taints.map(({ key, value, effect }) => `${key}=${value}:${effect}`),
      };
    },
  );
}

function isDrainReason(text: string | undefined): text is DrainReason {
  return text === "upgrade" || text === "leave" || text === "owner";
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
