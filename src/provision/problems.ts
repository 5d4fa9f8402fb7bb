/** Why nodes do not become members, whatever the orchestrator: causes, messages and what to do. */
import type { ClusterProblem } from "../cluster/cluster-problem.ts";
import type { RemoteShell, ShellOutcome } from "../ports.ts";
import { withoutSecrets } from "./secret-forms.ts";

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

/** The last words of a program, which mostly say why; on one line, not without end, and without secrets. */
export function lastWords(text: string): string {
  const line = withoutSecrets(text.trim()).split("\n").at(-1)?.trim() ?? "";
  return line.length > WORDS_LENGTH_MAX ? `${line.slice(0, WORDS_LENGTH_MAX)}…` : line;
}

const WORDS_LENGTH_MAX = 400;

/** Runs a script to its end; rejects with a `StepError` when that does not come. */
export async function runScript(
  shell: RemoteShell,
  { node, task, script, timeoutMs }: { node: string; task: string; script: string; timeoutMs: number },
): Promise<ShellOutcome & { kind: "ended" }> {
  const outcome = await shell.run(node, script, timeoutMs);
  if (outcome.kind !== "ended") throw new StepError(shellProblem(node, task, outcome));
  return outcome;
}
