/**
 * From what the manifest wants of a cluster and what its nodes say to steps, as data. An orchestrator (Swarm, k3s, kubeadm) is these
 * four functions; the runner goes round: observe, plan, run what can be done now, and observe again. Nothing is remembered between
 * rounds, so a manager that was started again goes on by looking.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import type { RemoteShell } from "../ports.ts";

export type MemberRole = "manager" | "worker";

/** What somebody asked for beside the manifest. `drained`: a member without work. `out`: no member, though it is a node. */
export type MemberWish = "in" | "drained" | "out";

/** What is known of a board: orchestrators make labels of it, each in its own form. */
export interface MemberFacts {
  model?: string;
  serial?: string;
  /** `nodes[].role` of the manifest. */
  role?: string;
}

/** What the manifest wants of one node, and what the manager knows of it. */
export interface DesiredMember {
  name: string;
  role: MemberRole;
  wish: MemberWish;
  facts: MemberFacts;
  /** Absent while it is not known; with `isReady` it is there. */
  address?: Ipv4;
  /** It runs, its storage was tried, and it is configured if the manifest wants that: its shell can be asked. */
  isReady: boolean;
  /** Work was tried on it since it started. */
  wasTried: boolean;
  /** It has been a member, as far as is remembered: it may hold what the cluster is made of. */
  hasJoined: boolean;
}

export interface DesiredCluster {
  name: string;
  /** In the manifest's order. */
  members: readonly DesiredMember[];
}

/** One thing to do about one node. `kind` and more fields are the orchestrator's, and hold no secret: steps are shown. */
export interface ClusterStep {
  kind: string;
  node: string;
  /** For people, as "join node2 as a worker". */
  title: string;
}

export interface NextSteps<Step extends ClusterStep> {
  /** All can be done now, at the same time: each is about another node. */
  steps: readonly Step[];
  problems: readonly ClusterProblem[];
  /** What will come by itself, for people: "node2 is not Ready yet". Without steps, problems and this nothing is left. */
  waiting: readonly string[];
  /** Members that are as they should be, tried work included. */
  joined: readonly string[];
  /** Who was joined, as `wasTried` says, and is no longer. Who is only not seen now is not among them. */
  lost: readonly { node: string; reason: string }[];
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
