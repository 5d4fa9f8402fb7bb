import type { Command } from "commander";
import type { Explanation } from "../../cluster/diagnosis/explanation.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { coloured, formatDuration } from "../table.ts";

export function addExplain(bramble: Command): void {
  bramble
    .command("explain <node>")
    .description("why a node does not get on: what was seen of it, the cause, and what to do")
    .action(async (node: string, _, command: Command) => {
      const explanation = await apiOf(command).get<Explanation>(`/v1/explanation/${encodeURIComponent(node)}`);
      if (globalOptions(command).json) printJson(explanation);
      else console.log(explanationText(explanation, Date.now()));
    });
}

export function explanationText(explanation: Explanation, nowMs: number): string {
  const { node, stage, stageSinceMs, isStalled, seen, diagnosis, next } = explanation;
  const since = stage === "silent" ? "" : ` for ${formatDuration(Math.max(0, nowMs - stageSinceMs))}`;
  const cause = diagnosis
    ? [
        coloured(`Cause     ${diagnosis.title} (${diagnosis.cause})`, "red"),
        `Evidence  ${diagnosis.evidence}`,
        `Remedy    ${diagnosis.remedy}`,
      ]
    : ["Cause     none: nothing is wrong with it that has a name"];
  return [
    `${node}: ${stage}${since}${isStalled ? ", stalled" : ""}`,
    ...seen.map((line) => `Seen      ${line}`),
    ...cause,
    `Next      ${next}`,
  ].join("\n");
}
