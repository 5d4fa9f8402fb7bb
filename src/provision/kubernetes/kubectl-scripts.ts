/**
 * What is asked of the control plane by kubectl, on one of its nodes. Documents: kubectl's reference (cordon, drain, label, taint, wait),
 * Kubernetes, "Safely Drain a Node".
 */

import { shellWord } from "../shell-word.ts";
import type { DrainReason } from "./observed.ts";
import { script } from "./script.ts";
import type { NodeMarks } from "./steps.ts";

/** Annotations of nodes: by them a manager that was started again knows what it began. */
export const DRAINED_ANNOTATION = "bramble/drained";
export const CHECKED_ANNOTATION = "bramble/checked";

const DRAIN_LIMIT_S = 240;
const POD_READY_LIMIT_S = 240;

/** `kubectl`: how it is called; `forget`: what else must be done for a node that is deleted, with its name in `$node`. */
export interface ControlPlaneAccess {
  kubectl: string;
  forget: string;
  pauseImage: string;
}

/** All nodes as JSON, on one line. */
export function nodesScript({ kubectl }: ControlPlaneAccess): string {
  return script("", `timeout 30 ${kubectl} get --raw /api/v1/nodes`);
}

export function waitReadyScript({ kubectl }: ControlPlaneAccess, node: string, limitS: number): string {
  return script(
    "",
    `left=${limitS}
until ${kubectl} get node ${node} > /dev/null 2>&1; do
  [ "$left" -gt 0 ] || fail not-ready "the control plane has not heard of it"
  left=$((left - 2))
  sleep 2
done
said=$(${kubectl} wait --for=condition=Ready node/${node} "--timeout=\${left}s" 2>&1) || fail not-ready "$said"`,
  );
}

export function deleteScript({ kubectl, forget }: ControlPlaneAccess, targets: readonly string[]): string {
  return script(
    "",
    `for node in ${targets.join(" ")}; do
  said=$(${kubectl} delete node "$node" --ignore-not-found --timeout=120s 2>&1) || fail api "$said"
  ${forget}
done`,
  );
}

/** The annotation comes last: without it, it is begun again. What fails leaves the node as it was. */
export function drainScript({ kubectl }: ControlPlaneAccess, node: string, reason: DrainReason): string {
  return script(
    "",
    `was=$(${kubectl} get node ${node} -o 'jsonpath={.spec.unschedulable}') || fail api "no answer"
said=$(${kubectl} drain ${node} --ignore-daemonsets --delete-emptydir-data --force --timeout=${DRAIN_LIMIT_S}s 2>&1) || {
  [ "$was" = true ] || ${kubectl} uncordon ${node} > /dev/null 2>&1
  fail drain "$said"
}
said=$(${kubectl} annotate --overwrite node ${node} ${DRAINED_ANNOTATION}=${reason} 2>&1) || fail api "$said"`,
  );
}

export function uncordonScript({ kubectl }: ControlPlaneAccess, node: string): string {
  return script(
    "",
    `said=$(${kubectl} uncordon ${node} 2>&1) || fail api "$said"
said=$(${kubectl} annotate node ${node} ${DRAINED_ANNOTATION}- 2>&1) || fail api "$said"`,
  );
}

export function markScript({ kubectl }: ControlPlaneAccess, marks: readonly NodeMarks[]): string {
  const commands = marks.flatMap(({ name, labels, taints }) => {
    const labelWords = Object.entries(labels).map(([key, value]) => shellWord(`${key}=${value}`));
    return [
      ...(labelWords.length > 0 ? [`label --overwrite node ${name} ${labelWords.join(" ")}`] : []),
      ...(taints.length > 0 ? [`taint --overwrite node ${name} ${taints.map(shellWord).join(" ")}`] : []),
    ];
  });
  return script("", commands.map((command) => `said=$(${kubectl} ${command} 2>&1) || fail api "$said"`).join("\n"));
}

/**
 * A pod of the pause image, which every node has: scheduled to the node, its image unpacked on the storage, started, given an address
 * by the pod network, and reached by ICMP from the control plane, where `ping` is there.
 */
export function checkScript({ kubectl, pauseImage }: ControlPlaneAccess, node: string, bootId: string): string {
  const pod = `bramble-check-${node}`;
  const kube = `${kubectl} -n kube-system`;
  return script(
    "",
    `${kube} delete pod ${pod} --ignore-not-found --timeout=60s > /dev/null 2>&1
said=$(${kube} apply -f - 2>&1 <<'END_OF_POD'
${podManifest(pod, node, pauseImage)}
END_OF_POD
) || fail check "$said"
${kube} wait --for=condition=Ready pod/${pod} --timeout=${POD_READY_LIMIT_S}s > /dev/null 2>&1 ||
  fail check "$(${kube} get events --field-selector involvedObject.name=${pod} -o 'jsonpath={.items[-1:].message}' 2>&1)"
address=$(${kube} get pod ${pod} -o 'jsonpath={.status.podIP}')
[ -n "$address" ] || fail check "its pod got no address from the pod network"
if command -v ping > /dev/null; then
  ping -c 1 -W 10 "$address" > /dev/null 2>&1 || fail check "its pod, at $address, is not reached from the control plane"
fi
${kube} delete pod ${pod} --wait=false > /dev/null 2>&1
said=$(${kubectl} annotate --overwrite node ${node} ${CHECKED_ANNOTATION}=${bootId} 2>&1) || fail api "$said"`,
  );
}

function podManifest(pod: string, node: string, image: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: pod, namespace: "kube-system", labels: { app: "bramble-check" } },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": node },
      tolerations: [{ operator: "Exists" }],
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "pause", image, imagePullPolicy: "IfNotPresent" }],
    },
  });
}
