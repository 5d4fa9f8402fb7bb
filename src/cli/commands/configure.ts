import type { Command } from "commander";
import type { ConfigureEvent, ConfigureOutcome } from "../../manager/configuration/configurator.ts";
import { configureProgress, configureSummary } from "../configure-text.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { UserError } from "../user-error.ts";

interface ConfigureOptions {
  check?: boolean;
}

/** Said when it takes longer until it begins. */
const WAIT_TOLD_AFTER_MS = 2000;

export function addConfigure(bramble: Command): void {
  bramble
    .command("configure [node...]")
    .description("have Ansible do on nodes that are up what the manifest says under configure (docs/CLUSTER.md)")
    .option("--check", "change nothing, and show what would be changed")
    .action((nodes: string[], options: ConfigureOptions, command: Command) => configure(nodes, options, command));
}

async function configure(nodes: readonly string[], { check }: ConfigureOptions, command: Command): Promise<void> {
  const { json } = globalOptions(command);
  const request = { ...(nodes.length > 0 && { nodes }), ...(check && { check }) };
  const show = configureProgress();
  const waiting = setTimeout(
    () => console.error("bramble: waiting: the manager is configuring other nodes"),
    WAIT_TOLD_AFTER_MS,
  );
  let outcomes: readonly ConfigureOutcome[] | undefined;
  try {
    for await (const event of apiOf(command).lines<ConfigureEvent>("/v1/configure", request)) {
      clearTimeout(waiting);
      if (event.event === "summary") ({ outcomes } = event);
      if (!json) for (const line of show(event)) console.log(line);
    }
  } finally {
    clearTimeout(waiting);
  }
  if (outcomes === undefined) throw new UserError("Cannot tell how it ended: the manager stopped meanwhile");
  if (json) printJson(outcomes);
  else console.log(configureSummary(outcomes, check ?? false));
  process.exitCode = exitCodeOf(outcomes, nodes.length > 0);
}

/** Nodes that are off are no failure, unless they were asked for, or nobody is up. */
function exitCodeOf(outcomes: readonly ConfigureOutcome[], byName: boolean): number {
  const done = outcomes.filter(({ result }) => result === "configured").length;
  const off = outcomes.filter(({ result }) => result === "off").length;
  const isWell = done + off === outcomes.length && (byName ? off === 0 : done > 0);
  return isWell ? 0 : 1;
}
