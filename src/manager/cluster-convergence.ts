/**
 * Makes the cluster what the manifest says, by rounds: when a node comes up, when the manifest changes, and now and then. One round at a
 * time. What has to be remembered is on the nodes, in the journal and in `cluster.json`, so a manager that was killed goes on by looking.
 */
import { isDeepStrictEqual } from "node:util";
import type { Report } from "../boot/report.ts";
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import type { BootEvent } from "../cluster/event.ts";
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
import type { ClusterStatus } from "../cluster/status.ts";
import { Turn } from "../order/turns.ts";
import type { Clock, Timer } from "../ports.ts";
import { desiredCluster, storageProblems } from "../provision/desired.ts";
import type { DesiredCluster } from "../provision/orchestrator.ts";
import type { ClusterPlan, ClusterRounds, RoundResult, StepListener } from "../provision/rounds.ts";
import type { ClusterWishes } from "./cluster-wishes.ts";
import type { Journal } from "./journal.ts";

/** After these, things may be otherwise than they were. */
const NEWS: ReadonlySet<BootEvent["kind"]> = new Set<BootEvent["kind"]>([
  "up",
  "storage-tried",
  "configured",
  "shutdown-seen",
  "no-answer",
  "answers-again",
  "manifest-loaded",
  "reset",
]);

/** What comes together is looked at once. */
const DEBOUNCE_MS = 1000;
/** Of a cluster that is as it should be: members may fail without an event. */
const SETTLED_MS = 5 * 60_000;
/** Between tries, doubling: first Docker may just be starting. */
const RETRY_FIRST_MS = 5000;
const RETRY_MAX_MS = 60_000;

export interface ClusterConvergenceOptions {
  journal: Pick<Journal, "listen">;
  clock: Pick<Clock, "after" | "unixMs" | "monotonicMs">;
  report: Report;
  manifest(): Manifest;
  status(): ClusterStatus;
  wishes: Pick<ClusterWishes, "of">;
  isConfigured(node: ManifestNode): boolean;
  /** `undefined`: the manifest has no orchestrator. */
  roundsOf(manifest: Manifest): ClusterRounds | undefined;
}

/** Where the cluster stands after a round. */
export interface Rest {
  /** It is as the manifest wants it. */
  isSettled: boolean;
  problems: readonly ClusterProblem[];
  waiting: readonly string[];
}

/** By node, as they were when a round began. */
type BootIds = ReadonlyMap<string, string | undefined>;

const NO_CLUSTER: Rest = { isSettled: true, problems: [], waiting: [] };

export class ClusterConvergence {
  readonly #options: ClusterConvergenceOptions;
  readonly #turn = new Turn();
  #timer: (Timer & { dueMs: number }) | undefined;
  #retries = 0;
  #isStopped = false;
  #roundsBegun = 0;
  /** Who waits for the first round after that number which does nothing. */
  #waiting: { after: number; resolve: () => void }[] = [];
  /** Of the last round. */
  #rest: Rest = NO_CLUSTER;
  #roundEndedMs: number | undefined;

  constructor(options: ClusterConvergenceOptions) {
    this.#options = options;
  }

  /** Returns how to stop: a round that is under way goes on until its shells are closed, and does nothing after that. */
  start(): () => void {
    const stopListening = this.#options.journal.listen((event) => {
      if (!NEWS.has(event.kind)) return;
      this.#retries = 0;
      this.#schedule(DEBOUNCE_MS);
    });
    this.#schedule(DEBOUNCE_MS);
    return () => {
      this.#isStopped = true;
      this.#endWaiting(Number.POSITIVE_INFINITY);
      stopListening();
      this.#timer?.cancel();
    };
  }

  get rest(): Rest & { roundEndedMs?: number } {
    return { ...this.#rest, ...(this.#roundEndedMs !== undefined && { roundEndedMs: this.#roundEndedMs }) };
  }

  /** What the next rounds would do; `undefined` without an orchestrator. */
  async plan(): Promise<ClusterPlan | undefined> {
    const { manifest } = this.#options;
    const rounds = this.#options.roundsOf(manifest());
    const plan = await rounds?.plan(this.desired());
    const storage = storageProblems(manifest(), this.#options.status());
    return plan && { ...plan, problems: [...storage, ...plan.problems] };
  }

  desired(): DesiredCluster {
    const { manifest, status, wishes, isConfigured } = this.#options;
    return desiredCluster(manifest(), { status: status(), wishOf: (node) => wishes.of(node), isConfigured });
  }

  /** Goes round now. Resolves when nothing can be done any more for the moment. */
  async apply(): Promise<Rest> {
    this.#retries = 0;
    const after = this.#roundsBegun;
    this.#schedule(0);
    if (!this.#isStopped) await new Promise<void>((resolve) => this.#waiting.push({ after, resolve }));
    return this.#rest;
  }

  #endWaiting(round: number): void {
    const [over, rest] = [
      this.#waiting.filter(({ after }) => after < round),
      this.#waiting.filter(({ after }) => after >= round),
    ];
    this.#waiting = rest;
    for (const { resolve } of over) resolve();
  }

  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.monotonicMs() + delayMs;
    // News that came while a round was under way are not to wait until that round's own next time.
    if (this.#isStopped || (this.#timer && this.#timer.dueMs <= dueMs)) return;
    this.#timer?.cancel();
    const timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      void this.#turn.run(async () => {
        const round = ++this.#roundsBegun;
        const result = await this.#round();
        if (result === undefined || result.done === 0) this.#endWaiting(round);
      });
    });
    this.#timer = { cancel: () => timer.cancel(), dueMs };
  }

  async #round(): Promise<RoundResult | undefined> {
    const { clock, manifest, status, roundsOf } = this.#options;
    const rounds = this.#isStopped ? undefined : roundsOf(manifest());
    if (rounds === undefined) {
      this.#takeRest(NO_CLUSTER);
      return undefined;
    }
    const bootIds = new Map(Array.from(status().nodes, ([name, node]) => [name, node.boot?.bootId]));
    let result: RoundResult;
    try {
      result = await rounds.run(this.desired(), this.#listener(bootIds));
    } catch (error) {
      // A fault of the program's: the data plane goes on, and it is tried again.
      this.#tell({ kind: "warning", message: `Cannot go on with the cluster: ${(error as Error).stack ?? error}` });
      this.#schedule(RETRY_MAX_MS);
      return undefined;
    }
    if (this.#isStopped) return undefined;
    const problems = [...storageProblems(manifest(), status()), ...result.problems];
    const isSettled = result.tried === 0 && result.waiting.length === 0 && problems.length === 0;
    this.#takeRest({ isSettled, problems, waiting: result.waiting });
    this.#roundEndedMs = clock.unixMs();
    this.#schedule(this.#nextDelayMs(result, isSettled));
    return result;
  }

  #nextDelayMs({ done, tried, waiting }: RoundResult, isSettled: boolean): number {
    if (done > 0) {
      this.#retries = 0;
      return 0;
    }
    if (isSettled) return SETTLED_MS;
    // What only a person can put right has time.
    const maxMs = tried > 0 || waiting.length > 0 ? RETRY_MAX_MS : SETTLED_MS;
    return Math.min(maxMs, RETRY_FIRST_MS * 2 ** this.#retries++);
  }

  #takeRest(rest: Rest): void {
    const { problems } = rest;
    const told = this.#options.status().clusterProblems;
    this.#rest = rest;
    if (!isDeepStrictEqual(problems, told)) this.#tell({ kind: "cluster-problems", problems });
  }

  #tellMembers({ joined, lost }: Parameters<StepListener["planned"]>[0], bootIds: BootIds): void {
    const { nodes } = this.#options.status();
    for (const name of joined) {
      const node = nodes.get(name);
      const bootId = bootIds.get(name);
      // It may have started anew while work was tried on it.
      if (node?.stage === "up" && bootId !== undefined && node.boot?.bootId === bootId) {
        this.#tell({ kind: "joined", bootId }, name);
      }
    }
    for (const { node, reason } of lost) {
      if (nodes.get(node)?.stage === "joined") this.#tell({ kind: "left", reason }, node);
    }
  }

  #listener(bootIds: BootIds): StepListener {
    return {
      planned: (members) => this.#tellMembers(members, bootIds),
      begun: ({ kind, title, node }) => this.#tell({ kind: "step-begun", step: kind, title }, node),
      done: ({ kind, title, node }, durationMs) =>
        this.#tell({ kind: "step-done", step: kind, title, durationMs }, node),
      failed: ({ kind, title, node }, durationMs, { cause, message }) =>
        this.#tell({ kind: "step-failed", step: kind, title, durationMs, cause, message }, node),
    };
  }

  /** Of what ends because the manager does, nobody needs to hear. */
  readonly #tell: Report = (occurrence, node) => {
    if (!this.#isStopped) this.#options.report(occurrence, node);
  };
}
