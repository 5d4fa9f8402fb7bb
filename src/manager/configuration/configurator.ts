/**
 * Has Ansible configure nodes: when somebody asks, and by itself (`configure.auto`) those that are up and were not configured with
 * the present settings. It looks at the status alone, so that a manager that was restarted goes on where the last one ended.
 */
import type { Report } from "../../boot/report.ts";
import type { BootEvent } from "../../cluster/event.ts";
import { type ClusterStatus, isReachable } from "../../cluster/status.ts";
import { Turn } from "../../order/turns.ts";
import type { Clock, Timer } from "../../ports.ts";
import type { AnsibleEvent, NodeOutcome } from "../../provision/ansible/progress.ts";
import {
  configurationDueMs,
  configurationFingerprint,
  configurationOf,
  configurationRetryMs,
} from "../../provision/configuration.ts";
import type { Journal } from "../journal.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import { RequestError } from "../request-error.ts";
import type { AnsibleRun } from "./ansible-run.ts";

/** Longer waits are made of several: a timer does not know that the clock was set. */
const LOOK_MS_MAX = 60_000;

const WAKE_MS = 1000;
/** Nodes that are switched on together come up seconds apart. One that misses a run waits minutes for the next. */
const TOGETHER_MS = 5000;

/** After one of these something may be due. */
const WAKING: ReadonlySet<BootEvent["kind"]> = new Set([
  "up",
  "manifest-loaded",
  "configured",
  "configure-failed",
  "reset",
  "snapshot-restored",
  "cloned",
]);

export interface ConfiguratorOptions {
  loaded(): LoadedManifest;
  status(): ClusterStatus;
  clock: Pick<Clock, "unixMs" | "after">;
  journal: Pick<Journal, "listen">;
  report: Report;
  runAnsible(run: AnsibleRun): Promise<NodeOutcome[]>;
}

export interface ConfigureRequest {
  /** Absent: all that are up. */
  nodes?: readonly string[];
  check?: boolean;
}

/** What is told of a run that was asked for, in this order: `begin` when it is its turn, Ansible's events, `summary`. */
export type ConfigureEvent =
  | { event: "begin"; nodes: readonly string[] }
  | AnsibleEvent
  | { event: "summary"; outcomes: ConfigureOutcome[] };

/** `off`: it was not up, and nothing was done. */
export type ConfigureOutcome = NodeOutcome | { node: string; result: "off" };

export class Configurator {
  readonly #options: ConfiguratorOptions;
  readonly #turn = new Turn();
  readonly #stopped = new AbortController();
  /** What Ansible does on a node now; empty before the first task. */
  readonly #running = new Map<string, string>();
  #timer: Timer | undefined;
  #isRunningByItself = false;
  #isWoken = false;

  constructor(options: ConfiguratorOptions) {
    this.#options = options;
  }

  /** Returns how to stop; that resolves when no run is under way any more. */
  start(): () => Promise<void> {
    const stopListening = this.#options.journal.listen(({ kind }) => {
      if (WAKING.has(kind)) this.#wake(kind === "up" ? TOGETHER_MS : WAKE_MS);
    });
    this.#wake();
    return async () => {
      stopListening();
      this.#timer?.cancel();
      this.#stopped.abort();
      await this.#turn.run(async () => {});
    };
  }

  /** The task that Ansible does on the node now; `undefined` when it is not at work there. */
  taskOn(node: string): string | undefined {
    return this.#running.get(node);
  }

  /** Throws `RequestError` for what cannot be asked for; else returns how to do it, when it is its turn. */
  prepare(request: ConfigureRequest): (tell: (event: ConfigureEvent) => void, signal: AbortSignal) => Promise<void> {
    this.#requireNodes(request.nodes);
    return (tell, signal) => this.#turn.run(() => this.#runAsked(request, tell, signal));
  }

  async #runAsked(
    { nodes: asked, check = false }: ConfigureRequest,
    tell: (event: ConfigureEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    if (either.aborted) return;
    const wanted = asked ?? this.#options.loaded().manifest.nodes.map(({ name }) => name);
    const { nodes: known } = this.#options.status();
    const nodes = wanted.filter((name) => isReachable(known.get(name)));
    tell({ event: "begin", nodes });
    const done = nodes.length === 0 ? [] : await this.#run(nodes, check, tell, either);
    const byNode = new Map(done.map((outcome) => [outcome.node, outcome]));
    const outcomes = wanted.map((node) => byNode.get(node) ?? ({ node, result: "off" } as const));
    tell({ event: "summary", outcomes });
  }

  #requireNodes(names: readonly string[] = []): void {
    const { manifest } = this.#options.loaded();
    if (configurationOf(manifest) === undefined) {
      throw new RequestError(
        409,
        "Cannot configure nodes: the manifest does not say how; add configure: { roles: [base] } or playbooks of yours (docs/CLUSTER.md)",
      );
    }
    const unknown = names.find((name) => !manifest.nodes.some((node) => node.name === name));
    if (unknown !== undefined) {
      throw new RequestError(404, `Cannot configure ${unknown}: the manifest has no node of that name`);
    }
  }

  /** Something has happened: looks soon, once for all that happens in a moment. */
  #wake(delayMs = WAKE_MS): void {
    if (!this.#isWoken) this.#lookIn(delayMs);
    this.#isWoken = true;
  }

  #lookIn(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#stopped.signal.aborted) return;
    this.#timer = this.#options.clock.after(Math.min(Math.max(delayMs, WAKE_MS), LOOK_MS_MAX), () => {
      this.#isWoken = false;
      this.#look();
    });
  }

  /** Begins a run when a node is due, or looks again when the next one will be. */
  #look(): void {
    if (this.#isRunningByItself) return;
    const nowMs = this.#options.clock.unixMs();
    const dueMs = Math.min(...this.#dueTimes(nowMs).values());
    if (dueMs > nowMs) {
      if (dueMs !== Number.POSITIVE_INFINITY) this.#lookIn(dueMs - nowMs);
      return;
    }
    this.#isRunningByItself = true;
    void this.#turn
      .run(() => this.#runDue())
      .finally(() => {
        this.#isRunningByItself = false;
        this.#wake();
      });
  }

  #dueTimes(nowMs: number): Map<string, number> {
    const { loaded, status } = this.#options;
    const { manifest } = loaded();
    if (!configurationOf(manifest)?.auto) return new Map();
    const times = manifest.nodes.map((node) => {
      const dueMs = configurationDueMs(manifest, node, status().nodes.get(node.name), nowMs);
      return [node.name, dueMs] as const;
    });
    return new Map(times.filter((pair): pair is [string, number] => pair[1] !== undefined));
  }

  async #runDue(): Promise<void> {
    const nowMs = this.#options.clock.unixMs();
    const due = [...this.#dueTimes(nowMs)].filter(([, dueMs]) => dueMs <= nowMs).map(([name]) => name);
    if (due.length > 0 && !this.#stopped.signal.aborted) await this.#run(due, false, () => {}, this.#stopped.signal);
  }

  async #run(
    nodes: readonly string[],
    check: boolean,
    tell: (event: AnsibleEvent) => void,
    signal: AbortSignal,
  ): Promise<NodeOutcome[]> {
    const { loaded, status, runAnsible } = this.#options;
    const [atStart, bootIds] = [loaded(), new Map(nodes.map((name) => [name, this.#bootId(name)]))];
    const configure = configurationOf(atStart.manifest, atStart.resolvePath);
    // The manifest has changed while this waited for its turn.
    if (configure === undefined) return [];
    for (const name of nodes) this.#running.set(name, "");
    const known = [...status().nodes.values()].map(({ node, ...rest }) => ({ name: node, ...rest }));
    const onEvent = (event: AnsibleEvent) => {
      if (event.event === "task") for (const name of this.#running.keys()) this.#running.set(name, event.name);
      if (event.event === "result" && (event.state === "failed" || event.state === "unreachable")) {
        this.#running.delete(event.node);
      }
      tell(event);
    };
    let outcomes: NodeOutcome[];
    try {
      outcomes = await runAnsible({ loaded: atStart, configure, known, nodes, check, onEvent, signal });
    } catch (error) {
      const message = (error as Error).message;
      outcomes = nodes.map((node) => ({ node, result: "failed", ok: 0, changed: 0, skipped: 0, message }));
    } finally {
      this.#running.clear();
    }
    // A run that was stopped is no failure of its nodes, and one that changes nothing is nothing to remember.
    if (!check && !signal.aborted) for (const outcome of outcomes) this.#remember(outcome, atStart, bootIds);
    return outcomes;
  }

  #bootId(name: string): string {
    return this.#options.status().nodes.get(name)?.boot?.bootId ?? "";
  }

  #remember(outcome: NodeOutcome, { manifest }: LoadedManifest, bootIds: ReadonlyMap<string, string>): void {
    const { node: name, changed } = outcome;
    const node = manifest.nodes.find((each) => each.name === name);
    // It has booted anew meanwhile: what was done may be gone, and what failed is no wonder.
    if (node === undefined || bootIds.get(name) !== this.#bootId(name)) return;
    const about = { fingerprint: configurationFingerprint(manifest, node), bootId: this.#bootId(name) };
    if (outcome.result === "configured") this.#options.report({ kind: "configured", ...about, changed }, name);
    else {
      const message = this.#failureText(outcome, configurationOf(manifest)?.auto ?? false, about);
      this.#options.report({ kind: "configure-failed", ...about, message }, name);
    }
  }

  #failureText(
    { node, task, message = "" }: NodeOutcome,
    isAuto: boolean,
    about: { fingerprint: string; bootId: string },
  ): string {
    const what = task === undefined ? "" : `task "${task}": `;
    const last = this.#options.status().nodes.get(node)?.configureFailed;
    const isAgain = last?.fingerprint === about.fingerprint && last.bootId === about.bootId;
    const retryMs = configurationRetryMs((isAgain ? last.attempts : 0) + 1);
    const next = isAuto
      ? `it is tried again in ${Math.round(retryMs / 60_000)} min, or now by`
      : "when that is mended:";
    return `Cannot configure ${node}: ${what}${message.replace(/^Cannot run Ansible: /, "")}; ${next} bramble configure ${node}`;
  }
}
