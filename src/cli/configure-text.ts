/** What a run of Ansible does, as lines for people. */
import type { ConfigureEvent, ConfigureOutcome } from "../manager/configuration/configurator.ts";
import type { TaskState } from "../provision/ansible/progress.ts";
import { coloured, formatCount, formatTable } from "./table.ts";

/** Takes the events of one run in their order; gives the lines that each adds. A task's results are one line, told when the next begins. */
export function configureProgress(): (event: ConfigureEvent) => string[] {
  let results = new Map<TaskState, string[]>();
  const flush = () => {
    const line = resultLine(results);
    results = new Map();
    return line === undefined ? [] : [line];
  };
  return (event) => {
    switch (event.event) {
      case "begin":
        return [`configuring ${event.nodes.length === 0 ? "no node: none is up" : event.nodes.join(", ")}`];
      case "play":
        return [...flush(), coloured(event.name, "bold")];
      case "no-nodes":
        return ["  for none of these nodes"];
      case "task":
        return [...flush(), `  ${event.role ? `${shortRole(event.role)}: ` : ""}${event.name}`];
      case "result": {
        results.set(event.state, [...(results.get(event.state) ?? []), event.node]);
        const isBad = event.state === "failed" || event.state === "unreachable";
        return isBad ? [coloured(`    ${event.node} ${event.state}: ${event.message ?? ""}`, "red")] : [];
      }
      default:
        return flush();
    }
  };
}

function shortRole(role: string): string {
  return role.replace(/^bramble\.cluster\./, "");
}

/** That a task changed nothing is not worth a line; failures have been told. */
function resultLine(results: ReadonlyMap<TaskState, readonly string[]>): string | undefined {
  const changed = results.get("changed");
  const ignored = results.get("ignored");
  const parts = [
    ...(changed ? [coloured(`changed: ${changed.join(", ")}`, "yellow")] : []),
    ...(ignored ? [`failed, which the task allows: ${ignored.join(", ")}`] : []),
  ];
  return parts.length === 0 ? undefined : `    ${parts.join(" · ")}`;
}

/** `check`: nothing was changed. */
export function configureSummary(outcomes: readonly ConfigureOutcome[], check: boolean): string {
  const rows = outcomes.map((outcome) => {
    if (outcome.result === "off") return [outcome.node, coloured("off", "dim"), "", "", "not up: nothing was done"];
    const { node, result, ok, changed, task, message } = outcome;
    const what = result === "configured" ? coloured(check ? "checked" : result, "green") : coloured(result, "red");
    const why = [task && `task "${task}"`, message].filter(Boolean).join(": ");
    return [node, what, String(ok), String(changed), why];
  });
  const count = (result: ConfigureOutcome["result"]) => outcomes.filter((each) => each.result === result).length;
  const failed = count("failed") + count("unreachable");
  const total = [
    `${formatCount(count("configured"), "node")} ${check ? "checked" : "configured"}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(count("off") > 0 ? [`${count("off")} off`] : []),
  ];
  const header = ["NODE", "RESULT", "OK", check ? "WOULD CHANGE" : "CHANGED", ""];
  return `${formatTable(header, rows, [2, 3])}\n${total.join(", ")}`;
}
