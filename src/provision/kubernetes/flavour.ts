/** What k3s and kubeadm do differently: the scripts. What is done when is in `plan.ts`, and is the same for both. */
import type { DesiredCluster, DesiredMember } from "../orchestrator.ts";
import type { ControlPlaneAccess } from "./kubectl-scripts.ts";
import type { KubernetesSettings } from "./settings.ts";

/** What a node needs to join, read on the control plane. Held in memory for as long as the step runs. */
export interface JoinSecrets {
  /** All of them, so that no message has one. */
  values: readonly string[];
  /** By the names that the script printed. */
  byName: ReadonlyMap<string, string>;
}

export interface Flavour {
  settings: KubernetesSettings;
  access: ControlPlaneAccess;
  /** Prints what `observe.ts` reads. */
  observe(member: DesiredMember): string;
  init(member: DesiredMember, desired: DesiredCluster): string;
  /** Prints `name=value` lines of what is needed. */
  joinSecrets(node: string, kind: "join-server" | "join-agent"): string;
  join(member: DesiredMember, kind: "join-server" | "join-agent", apiAddress: string, secrets: JoinSecrets): string;
  start(member: DesiredMember, version: string, apiAddress: string | undefined): string;
  upgrade(member: DesiredMember, version: string, isFirst: boolean, apiAddress: string): string;
  reset(): string;
  /** Prints the file by which kubectl reaches the cluster as its administrator. */
  kubeconfig(): string;
}
