/** The cluster that an orchestrator makes, as the manager has it: kept up by itself, and what can be asked about it. */
import { join } from "node:path";
import type { Report } from "../boot/report.ts";
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import { isUp, type Stage } from "../cluster/event.ts";
import { managersOf } from "../cluster/orchestrator-managers.ts";
import type { ClusterStatus } from "../cluster/status.ts";
import { mayJoin } from "../provision/configuration.ts";
import { fetchKubeconfig } from "../provision/kubernetes/kubeconfig.ts";
import type { MemberRole, MemberWish } from "../provision/orchestrator.ts";
import { kubernetesFlavour, type OrchestratorManifest, roundsFor } from "../provision/orchestrators.ts";
import { StepError } from "../provision/problems.ts";
import type { ClusterPlan, ClusterRounds } from "../provision/rounds.ts";
import { pinnedHostKeyOptions } from "../provision/ssh-options.ts";
import { systemClock } from "../system/clock.ts";
import { SshShell } from "../system/ssh.ts";
import { ClusterConvergence } from "./cluster-convergence.ts";
import { ClusterWishes } from "./cluster-wishes.ts";
import type { Journal } from "./journal.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { RequestError } from "./request-error.ts";
import { sshPaths } from "./secrets.ts";

export interface ClusterMemberView {
  name: string;
  role: MemberRole;
  wish: MemberWish;
  stage: Stage;
  address?: string;
  /** What is being done about it. */
  step?: string;
}

export interface ClusterView {
  kind: string;
  /** It is as the manifest, and who asked for more, wants it. */
  isSettled: boolean;
  isDissolved: boolean;
  members: readonly ClusterMemberView[];
  problems: readonly ClusterProblem[];
  waiting: readonly string[];
  /** Absent before the first round. */
  roundEndedMs?: number;
}

export interface ClusterControlOptions {
  loaded(): LoadedManifest;
  journal: Journal;
  report: Report;
  status(): ClusterStatus;
  isServing(): boolean;
}

/** Methods that are asked for throw `RequestError`. */
export class ClusterControl {
  readonly #options: ClusterControlOptions;
  readonly #shell: SshShell;
  readonly #wishes: ClusterWishes;
  readonly #convergence: ClusterConvergence;
  /** Of the manifest's `orchestrator` as it was last. */
  #rounds: { settings: string; rounds: ClusterRounds | undefined } | undefined;

  constructor(options: ClusterControlOptions) {
    this.#options = options;
    const { journal, report, status } = options;
    const { stateFolder } = options.loaded();
    const files = sshPaths(stateFolder);
    this.#shell = new SshShell({
      keyPath: files.managerKey,
      socketFolder: join(stateFolder, "ssh"),
      targetOf: (node) => {
        const address = status().nodes.get(node)?.address;
        const { user } = options.loaded().manifest.access;
        return address && { user, address, hostKeyOptions: pinnedHostKeyOptions(node, files) };
      },
    });
    this.#wishes = new ClusterWishes(stateFolder, (message) => report({ kind: "warning", message }));
    this.#convergence = new ClusterConvergence({
      journal,
      clock: systemClock,
      report,
      manifest: () => options.loaded().manifest,
      status,
      wishes: this.#wishes,
      isConfigured: (node) => mayJoin(options.loaded().manifest, node, status().nodes.get(node.name)),
      roundsOf: (manifest) => this.#roundsOf(manifest),
    });
  }

  /** Returns how to stop. Steps that are under way are broken off: the next manager looks how far they came. */
  start(): () => Promise<void> {
    const stop = this.#convergence.start();
    return async () => {
      stop();
      await this.#shell.close();
    };
  }

  view(): ClusterView {
    const { status } = this.#options;
    const orchestrator = this.#demandOrchestrator("show the cluster");
    const { nodes } = status();
    const members = this.#convergence.desired().members.map(({ name, role, wish, address }): ClusterMemberView => {
      const node = nodes.get(name);
      const step = node?.clusterStep?.title;
      return { name, role, wish, stage: node?.stage ?? "silent", ...(address && { address }), ...(step && { step }) };
    });
    const { rest } = this.#convergence;
    const isSettled = rest.isSettled && !members.some(isUnderWay);
    return { kind: orchestrator.kind, isDissolved: this.#wishes.isDissolved, members, ...rest, isSettled };
  }

  async plan(): Promise<ClusterPlan> {
    this.#demandServing("plan the cluster");
    this.#demandOrchestrator("plan the cluster");
    const plan = await this.#convergence.plan();
    if (plan === undefined) throw this.#notYet("plan the cluster");
    return plan;
  }

  /** Resolves when nothing more can be done for the moment. */
  async apply(): Promise<ClusterView> {
    this.#demandServing("change the cluster");
    this.#demandOrchestrator("change the cluster");
    if (this.#wishes.isDissolved) await this.#wishes.setDissolved(false);
    await this.#convergence.apply();
    return this.view();
  }

  /** Has a node be a member, be one without work, or be none. Resolves as `apply` does. */
  async setWish(node: string, wish: MemberWish): Promise<ClusterView> {
    const task = WISH_TASKS[wish](node);
    this.#demandServing(task);
    this.#demandOrchestrator(task);
    if (!this.#options.loaded().manifest.nodes.some(({ name }) => name === node)) {
      throw new RequestError(404, `Cannot ${task}: the manifest has no node of that name`);
    }
    if (this.#wishes.isDissolved) {
      throw new RequestError(409, `Cannot ${task}: the cluster was dissolved; "bramble cluster apply" makes it again`);
    }
    await this.#wishes.set(node, wish);
    await this.#convergence.apply();
    return this.view();
  }

  /** Everybody leaves, the last manager last. */
  async dissolve(): Promise<ClusterView> {
    this.#demandServing("dissolve the cluster");
    this.#demandOrchestrator("dissolve the cluster");
    await this.#wishes.setDissolved(true);
    await this.#convergence.apply();
    return this.view();
  }

  /** Its files say who it is in the cluster: it has joined, and nobody had it leave since. */
  isMember(node: string): boolean {
    const status = this.#options.status().nodes.get(node);
    const isIn = this.#options.loaded().manifest.orchestrator !== undefined && this.#wishes.of(node) !== "out";
    return status?.stage === "joined" || (isIn && status?.hasJoined === true);
  }

  /** The file by which kubectl reaches the cluster as its administrator. */
  async kubeconfig(): Promise<string> {
    const task = "fetch the kubeconfig";
    this.#demandServing(task);
    this.#demandOrchestrator(task);
    const flavour = kubernetesFlavour(this.#options.loaded().manifest);
    if (flavour === undefined) throw new RequestError(409, `Cannot ${task}: the cluster is not one of Kubernetes`);
    try {
      return await fetchKubeconfig(flavour, this.#convergence.desired(), this.#shell);
    } catch (error) {
      if (error instanceof StepError) throw new RequestError(503, error.message);
      throw error;
    }
  }

  #roundsOf(manifest: OrchestratorManifest): ClusterRounds | undefined {
    const settings = JSON.stringify([manifest.cluster, manifest.orchestrator ?? null, managersOf(manifest).length]);
    if (this.#rounds?.settings !== settings) {
      this.#rounds = { settings, rounds: roundsFor(manifest, this.#shell, systemClock) };
    }
    return this.#rounds.rounds;
  }

  #demandServing(task: string): void {
    if (!this.#options.isServing()) throw new RequestError(503, `Cannot ${task} yet: the manager is still starting`);
  }

  #demandOrchestrator(task: string) {
    const { orchestrator } = this.#options.loaded().manifest;
    if (orchestrator) return orchestrator;
    throw new RequestError(
      409,
      `Cannot ${task}: the manifest has none; add a line as orchestrator: { kind: swarm } (docs/CLUSTER.md)`,
    );
  }

  #notYet(task: string): RequestError {
    const { kind } = this.#demandOrchestrator(task);
    return new RequestError(409, `Cannot ${task}: nodes are not joined by Bramble with kind ${kind} yet`);
  }
}

/** What the last round found is not the last word on it: it has started since, or something is being done about it. */
export function isUnderWay({ wish, stage, step }: Pick<ClusterMemberView, "wish" | "stage" | "step">): boolean {
  return step !== undefined || (wish === "in" && isUp(stage) && stage !== "joined");
}

const WISH_TASKS: Record<MemberWish, (node: string) => string> = {
  in: (node) => `have ${node} be a member`,
  drained: (node) => `drain ${node}`,
  out: (node) => `take ${node} out of the cluster`,
};
