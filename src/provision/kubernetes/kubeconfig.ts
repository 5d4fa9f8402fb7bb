/** The file by which kubectl reaches a cluster. Document: Kubernetes, "Organizing Cluster Access Using kubeconfig Files". */
import { parseDocument, stringify } from "yaml";
import type { RemoteShell } from "../../ports.ts";
import type { DesiredCluster } from "../orchestrator.ts";
import { StepError } from "../problems.ts";
import type { Flavour } from "./flavour.ts";
import { managersOf } from "./plan.ts";
import { kubernetesProblem } from "./problems.ts";
import { runScript } from "./script.ts";

const TIMEOUT_MS = 60_000;

/** From the first of the control plane that gives it: the administrator's, so a secret. Rejects with `StepError`. */
export async function fetchKubeconfig(flavour: Flavour, desired: DesiredCluster, shell: RemoteShell): Promise<string> {
  const { what } = flavour.settings;
  let failure = new StepError(kubernetesProblem("api", desired.name, what, "no node of the control plane is up"));
  for (const { name, address, isReady } of managersOf(desired)) {
    if (!isReady || address === undefined) continue;
    const task = {
      on: name,
      about: name,
      task: "Cannot fetch the kubeconfig",
      what,
      otherwise: "api",
      timeoutMs: TIMEOUT_MS,
    } as const;
    try {
      const text = kubeconfigFor(await runScript(shell, flavour.kubeconfig(), task), desired.name, address);
      if (text !== undefined) return text;
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** With the address of a node instead of the node's own loopback, and names by the cluster, so that several can be merged. */
export function kubeconfigFor(text: string, cluster: string, address: string): string | undefined {
  const document = parseDocument(text);
  const read = document.errors.length === 0 ? (document.toJS() as unknown) : undefined;
  if (!isKubeconfig(read)) return undefined;
  const user = `${cluster}-admin`;
  const { "certificate-authority-data": authority, server } = read.clusters[0].cluster;
  const url = server.replace(/^https:\/\/(127\.0\.0\.1|localhost|\[::1\])(?=:)/, `https://${address}`);
  return stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: cluster, cluster: { "certificate-authority-data": authority, server: url } }],
      users: [{ name: user, user: read.users[0].user }],
      contexts: [{ name: cluster, context: { cluster, user } }],
      "current-context": cluster,
    },
    { lineWidth: 0 },
  );
}

interface Kubeconfig {
  clusters: [{ cluster: { server: string; "certificate-authority-data"?: string } }];
  users: [{ user: object }];
}

function isKubeconfig(value: unknown): value is Kubeconfig {
  const read = value as Partial<Kubeconfig> | null | undefined;
  return typeof read?.clusters?.[0]?.cluster?.server === "string" && typeof read.users?.[0]?.user === "object";
}
