/** Goes round for a cluster: observe, plan, run what can be done now. The same for every orchestrator. */
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import type { Clock, RemoteShell } from "../ports.ts";
import type { ClusterStep, DesiredCluster, NextSteps, Orchestrator } from "./orchestrator.ts";
import { StepError } from "./problems.ts";

/** A plan that is longer does not end. */
const ROUNDS_MAX = 200;

export interface StepListener {
  /** Before steps are run. */
  planned(members: Pick<NextSteps<ClusterStep>, "joined" | "lost">): void;
  begun(step: ClusterStep): void;
  done(step: ClusterStep, durationMs: number): void;
  failed(step: ClusterStep, durationMs: number, problem: ClusterProblem): void;
}

export interface RoundResult extends Pick<NextSteps<ClusterStep>, "problems" | "waiting"> {
  /** How many steps were done, and how many tried. */
  done: number;
  tried: number;
}

/** All that would be done if each step does what it should: by round, side by side in each. */
export interface ClusterPlan extends Omit<NextSteps<ClusterStep>, "steps" | "lost"> {
  rounds: readonly (readonly ClusterStep[])[];
}

export interface ClusterRounds {
  run(desired: DesiredCluster, listener: StepListener): Promise<RoundResult>;
  plan(desired: DesiredCluster): Promise<ClusterPlan>;
}

export class Rounds<Observed, Step extends ClusterStep> implements ClusterRounds {
  readonly #orchestrator: Orchestrator<Observed, Step>;
  readonly #shell: RemoteShell;
  readonly #clock: Pick<Clock, "monotonicMs">;

  constructor(orchestrator: Orchestrator<Observed, Step>, shell: RemoteShell, clock: Pick<Clock, "monotonicMs">) {
    this.#orchestrator = orchestrator;
    this.#shell = shell;
    this.#clock = clock;
  }

  async run(desired: DesiredCluster, listener: StepListener): Promise<RoundResult> {
    const observed = await this.#orchestrator.observe(desired, this.#shell);
    const { steps, problems, waiting, joined, lost } = this.#orchestrator.plan(desired, observed);
    listener.planned({ joined, lost });
    // All of them are over when this ends, whatever becomes of one: the next round must not meet them.
    const ends = await Promise.allSettled(steps.map((step) => this.#runStep(step, desired, listener)));
    const failed = ends.flatMap((end) => {
      if (end.status === "rejected") throw end.reason;
      return end.value ?? [];
    });
    return { waiting, problems: [...problems, ...failed], done: steps.length - failed.length, tried: steps.length };
  }

  async #runStep(step: Step, desired: DesiredCluster, listener: StepListener): Promise<ClusterProblem | undefined> {
    const beginMs = this.#clock.monotonicMs();
    const durationMs = () => Math.round(this.#clock.monotonicMs() - beginMs);
    listener.begun(step);
    try {
      await this.#orchestrator.run(step, desired, this.#shell);
      listener.done(step, durationMs());
      return undefined;
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      listener.failed(step, durationMs(), error.problem);
      return error.problem;
    }
  }

  async plan(desired: DesiredCluster): Promise<ClusterPlan> {
    let observed: Observed = await this.#orchestrator.observe(desired, this.#shell);
    const first = this.#orchestrator.plan(desired, observed);
    const rounds: (readonly Step[])[] = [];
    for (let next = first; next.steps.length > 0 && rounds.length < ROUNDS_MAX; ) {
      rounds.push(next.steps);
      for (const step of next.steps) observed = this.#orchestrator.expect(observed, step);
      next = this.#orchestrator.plan(desired, observed);
    }
    const { problems, waiting, joined } = first;
    return { rounds, problems, waiting, joined };
  }
}
