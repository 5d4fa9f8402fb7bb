/**
 * What a run of ansible-playbook tells, and what became of each node. The lines are those of our callback plugin
 * (ansible/…/plugins/callback/progress.py): one JSON object each.
 */

import { explainFailure } from "./explain.ts";
import { LAST_PLAY } from "./playbook.ts";

export type TaskState = "ok" | "changed" | "skipped" | "ignored" | "failed" | "unreachable";

export type AnsibleEvent =
  | { event: "play"; name: string }
  /** No node of the run is in the play. */
  | { event: "no-nodes" }
  | { event: "task"; name: string; role?: string | null }
  | { event: "result"; node: string; task: string; state: TaskState; message?: string | null }
  | { event: "end"; nodes: Record<string, NodeTally> };

/** As Ansible counts; a failure that a `rescue` caught is not among `failures`. */
export interface NodeTally {
  ok: number;
  changed: number;
  skipped: number;
  failures: number;
  unreachable: number;
}

export interface NodeOutcome {
  node: string;
  result: "configured" | "failed" | "unreachable";
  ok: number;
  changed: number;
  skipped: number;
  /** Of what did not work: the task, and why. */
  task?: string;
  message?: string;
}

const EVENTS = new Set(["play", "no-nodes", "task", "result", "end"]);

/** `undefined` for a line that is none of ours: cut off when the run was killed. */
export function parseAnsibleEvent(line: string): AnsibleEvent | undefined {
  try {
    const event = JSON.parse(line) as AnsibleEvent;
    return EVENTS.has(event.event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** Folds the events of one run. */
export class AnsibleProgress {
  readonly #failures = new Map<string, { task: string; state: TaskState; message: string }>();
  readonly #done = new Set<string>();
  #tallies: Record<string, NodeTally> | undefined;
  #isLastPlay = false;

  /** False for what is not to be shown: our own last play. */
  take(event: AnsibleEvent): boolean {
    if (event.event === "play") this.#isLastPlay = event.name === LAST_PLAY;
    if (event.event === "end") this.#tallies = event.nodes;
    if (event.event === "result") this.#takeResult(event);
    return event.event !== "end" && !this.#isLastPlay;
  }

  #takeResult({ node, task, state, message }: AnsibleEvent & { event: "result" }): void {
    if (this.#isLastPlay && state === "ok") this.#done.add(node);
    if (state === "failed" || state === "unreachable") {
      this.#failures.set(node, { task, state, message: message ?? "" });
    }
  }

  /** `said`: what ansible-playbook wrote besides, for when it ended early. */
  outcomes(nodes: readonly string[], said: string): NodeOutcome[] {
    return nodes.map((node) => this.#outcome(node, said));
  }

  #outcome(node: string, said: string): NodeOutcome {
    const tally = this.#tallies?.[node];
    const counts = { ok: tally?.ok ?? 0, changed: tally?.changed ?? 0, skipped: tally?.skipped ?? 0 };
    if (this.#done.has(node)) return { node, result: "configured", ...counts, ok: Math.max(0, counts.ok - 1) };
    const failure = this.#failures.get(node);
    if (failure === undefined) return { node, result: "failed", ...counts, message: this.#whyNotDone(said) };
    const { task, state, message } = failure;
    const result = state === "unreachable" ? "unreachable" : "failed";
    return { node, result, ...counts, task, message: explainFailure(message) };
  }

  #whyNotDone(said: string): string {
    if (this.#tallies === undefined) return explainFailure(said) || "ansible-playbook ended early, without a word";
    const others = [...this.#failures.keys()].join(", ");
    return `the run ended before it was this node's turn${others && `, since ${others} failed`}`;
  }
}
