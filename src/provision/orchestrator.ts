/**
 * From what the manifest wants of a cluster and what its nodes say to steps, as data. An orchestrator (Swarm, k3s, kubeadm) is these
 * four functions; the runner goes round: observe, plan, run what can be done now, and observe again. Nothing is remembered between
 * rounds, so a manager that was started again goes on by looking.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { RemoteShell } from "../ports.ts";

export type MemberRole = "manager" | "worker";

/** What the manifest wants of one node. */
export interface DesiredMember {
  name: string;
  role: MemberRole;
  /** Labels in the orchestrator's own form of names: model, serial, memory, and those of the manifest. */
  labels: Readonly<Record<string, string>>;
  /** Absent while it is not known; with `isUp` it is there. */
  address?: Ipv4;
  /** It runs, its storage was tried, and it is configured if the manifest wants that: its shell can be asked. */
  isReady: boolean;
}

export interface DesiredCluster {
  name: string;
  /** In the manifest's order. */
  members: readonly DesiredMember[];
}

/** One thing to do on one node. `kind` and more fields are the orchestrator's. */
export interface ClusterStep {
  kind: string;
  node: string;
  /** For people, as "join node2 as a worker". */
  title: string;
}

/** What stands in the way. Causes are in `problems.ts`, each with its remedy. */
export interface ClusterProblem {
  cause: string;
  node?: string;
  /** What, where, why and what to do. */
  message: string;
}

export interface NextSteps<Step extends ClusterStep> {
  /** All can be done now, at the same time: each is on another node. Empty: nothing is left, or `problems` say why not. */
  steps: readonly Step[];
  problems: readonly ClusterProblem[];
  /** Members that are as they should be, tried work included. */
  joined: readonly string[];
}

export interface Orchestrator<Observed, Step extends ClusterStep> {
  /** Asks the members that are ready. A node that does not answer is part of what was observed, and rejects nothing. */
  observe(desired: DesiredCluster, shell: RemoteShell): Promise<Observed>;
  /** Pure. */
  plan(desired: DesiredCluster, observed: Observed): NextSteps<Step>;
  /** Pure: what will be observed if the step does what it should. By it a whole plan is shown before anything is done. */
  expect(observed: Observed, step: Step): Observed;
  /** Rejects with `StepError`. Done twice it does no harm: the answer to the first may have been lost. */
  run(step: Step, desired: DesiredCluster, shell: RemoteShell): Promise<void>;
}
