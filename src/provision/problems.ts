/** Why nodes do not become members, whatever the orchestrator: causes, messages and what to do. */
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import type { ShellOutcome } from "../ports.ts";

/** A step that was not done, or not in time. */
export class StepError extends Error {
  readonly problem: ClusterProblem;

  constructor(problem: ClusterProblem) {
    super(problem.message);
    this.name = "StepError";
    this.problem = problem;
  }
}

/** Of a shell that ran nothing, or not to its end; `task` as in "Cannot join node2 to the cluster". */
export function shellProblem(
  node: string,
  task: string,
  outcome: Exclude<ShellOutcome, { kind: "ended" }>,
): ClusterProblem {
  switch (outcome.kind) {
    case "unreachable":
      return {
        cause: "node-unreachable",
        node,
        message: `${task}: ${node} is not reached by SSH: ${outcome.reason}; look whether it runs ("bramble status") and its SSH server does ("bramble ssh ${node}")`,
      };
    case "refused":
      return {
        cause: "root-refused",
        node,
        message: `${task}: the user on ${node} may not become root without a password: ${outcome.reason}; set access.sudo: nopasswd and restart the node`,
      };
    case "timed-out":
      return {
        cause: "step-timed-out",
        node,
        message: `${task}: ${node} did not answer in time; it is tried again; look at it with "bramble ssh ${node}"`,
      };
  }
}

/** The last words of a program, which mostly say why; on one line, and not without end. */
export function lastWords(text: string): string {
  const line = text.trim().split("\n").at(-1)?.trim() ?? "";
  return line.length > WORDS_LENGTH_MAX ? `${line.slice(0, WORDS_LENGTH_MAX)}…` : line;
}

const WORDS_LENGTH_MAX = 400;
