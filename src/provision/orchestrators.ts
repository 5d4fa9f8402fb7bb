/** The orchestrator that a manifest names, ready to go round with. */
import type { Manifest } from "../cluster/manifest.ts";
import { managersOf } from "../cluster/orchestrator-managers.ts";
import type { Clock, RemoteShell } from "../ports.ts";
import type { Flavour } from "./kubernetes/flavour.ts";
import { flavourOf, kubernetes } from "./kubernetes/kubernetes.ts";
import { type ClusterRounds, Rounds } from "./rounds.ts";
import { Swarm } from "./swarm/swarm.ts";

/** What it needs of the manifest. */
export type OrchestratorManifest = Pick<Manifest, "cluster" | "orchestrator" | "nodes" | "root" | "storage">;

/** `undefined`: the manifest names none. */
export function roundsFor(
  manifest: OrchestratorManifest,
  shell: RemoteShell,
  clock: Pick<Clock, "unixMs" | "monotonicMs">,
): ClusterRounds | undefined {
  if (manifest.orchestrator === undefined) return undefined;
  const flavour = kubernetesFlavour(manifest);
  return flavour === undefined
    ? new Rounds(new Swarm(clock), shell, clock)
    : new Rounds(kubernetes(flavour), shell, clock);
}

/** `undefined` where the cluster is none of Kubernetes. */
export function kubernetesFlavour(manifest: OrchestratorManifest): Flavour | undefined {
  const { cluster, orchestrator } = manifest;
  if (orchestrator === undefined || orchestrator.kind === "swarm") return undefined;
  return flavourOf(cluster, orchestrator, managersOf(manifest).length);
}
