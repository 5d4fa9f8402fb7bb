import { chmodSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import type { BootEvent } from "../../cluster/event.ts";
import type { ClusterMemberView, ClusterView } from "../../manager/cluster-control.ts";
import type { ManagerStatusView } from "../../manager/status-view.ts";
import type { ClusterPlan } from "../../provision/rounds.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { eventText } from "../event-text.ts";
import { coloured, formatTable } from "../table.ts";
import { UserError } from "../user-error.ts";

export function addClusterCommands(bramble: Command): void {
  const cluster = bramble.command("cluster").description("the cluster that the orchestrator makes of the nodes");
  cluster
    .command("status")
    .description("its members, what stands in the way, and what is waited for")
    .action((_, command: Command) => showStatus(command));
  cluster
    .command("plan")
    .description("what would be done, round by round; asks the nodes, changes nothing")
    .action((_, command: Command) => showPlan(command));
  cluster
    .command("apply")
    .description("do it now, and wait; the manager does it by itself, too. After leave: make the cluster again")
    .action((_, command: Command) => change(command, "/v1/cluster/apply"));
  cluster
    .command("drain <node>")
    .description("take its work away, and wait until it has none")
    .option("--undo", "give it work again")
    .action((node: string, { undo }: { undo?: boolean }, command: Command) =>
      change(command, pathOf(node, undo ? "join" : "drain")),
    );
  cluster
    .command("remove <node>")
    .description("drain it and take it out; it stays a node that boots")
    .action((node: string, _, command: Command) => change(command, pathOf(node, "remove")));
  cluster
    .command("join <node>")
    .description("let it in again, and give it work")
    .action((node: string, _, command: Command) => change(command, pathOf(node, "join")));
  cluster
    .command("kubeconfig")
    .description("the file by which kubectl reaches the cluster as its administrator: a secret")
    .option("--output <file>", "write it there, for you alone, instead of printing it")
    .action((options: { output?: string }, command: Command) => showKubeconfig(options, command));
  cluster
    .command("leave")
    .description("dissolve the cluster: everybody leaves, and its services are gone")
    .option("--yes", "really")
    .action((options: { yes?: boolean }, command: Command) => dissolve(options, command));
}

function pathOf(node: string, what: string): string {
  return `/v1/cluster/nodes/${encodeURIComponent(node)}/${what}`;
}

async function showStatus(command: Command): Promise<void> {
  const view = await apiOf(command).get<ClusterView>("/v1/cluster");
  if (globalOptions(command).json) printJson(view);
  else console.log(statusText(view));
}

async function showPlan(command: Command): Promise<void> {
  const plan = await apiOf(command).get<ClusterPlan>("/v1/cluster/plan");
  if (globalOptions(command).json) printJson(plan);
  else console.log(planText(plan));
}

async function showKubeconfig({ output }: { output?: string }, command: Command): Promise<void> {
  const { kubeconfig } = await apiOf(command).get<{ kubeconfig: string }>("/v1/cluster/kubeconfig");
  if (output === undefined) {
    process.stdout.write(kubeconfig);
    return;
  }
  try {
    writeFileSync(output, kubeconfig, { mode: 0o600 });
    chmodSync(output, 0o600);
  } catch (error) {
    throw new UserError(`Cannot write ${output}: ${(error as Error).message}`);
  }
  console.log(`${output} is written; use it as kubectl --kubeconfig ${output} get nodes`);
}

async function dissolve({ yes }: { yes?: boolean }, command: Command): Promise<void> {
  if (!yes) {
    throw new UserError(
      "Cannot dissolve the cluster without --yes: its services, secrets and networks are gone then; volumes on nodes stay",
    );
  }
  await change(command, "/v1/cluster/leave");
}

/** Ends with 1 when something stands in the way. */
async function change(command: Command, path: string): Promise<void> {
  const api = apiOf(command);
  const { sequence } = await api.get<ManagerStatusView>("/v1/status");
  const view = await api.post<ClusterView>(path);
  if (globalOptions(command).json) {
    printJson(view);
  } else {
    for await (const event of api.lines<BootEvent>(`/v1/events?after=${sequence}`)) {
      const line = TOLD.has(event.kind) ? eventText(event) : undefined;
      if (line !== undefined) console.log(line);
    }
    console.log(statusText(view));
  }
  if (view.problems.length > 0) process.exitCode = 1;
}

const TOLD: ReadonlySet<BootEvent["kind"]> = new Set<BootEvent["kind"]>(["step-done", "step-failed", "joined", "left"]);

export function statusText({
  kind,
  members,
  problems,
  waiting,
  isSettled,
  isDissolved,
  roundEndedMs,
}: ClusterView): string {
  const rows = members.map((member) => [member.name, member.role, member.stage, member.address ?? "-", noteOf(member)]);
  const lines = [
    formatTable(["NODE", "ROLE", "STAGE", "ADDRESS", ""], rows),
    ...problems.map(({ cause, message }) => `${coloured(cause, "yellow")}: ${message}`),
    ...waiting.map((text) => `waits: ${text}`),
  ];
  const state = isDissolved
    ? "dissolved; bramble cluster apply makes it again"
    : roundEndedMs === undefined
      ? "not looked at yet"
      : isSettled
        ? "as it should be"
        : "not yet as it should be";
  return [...lines, `${kind}: ${state}`].join("\n");
}

function noteOf({ wish, step, stage }: ClusterMemberView): string {
  if (step !== undefined) return step;
  if (wish === "drained") return "drained; bramble cluster drain --undo gives it work again";
  if (wish === "out") return "out; bramble cluster join lets it in again";
  return stage === "joined" ? coloured("member, work was tried on it", "green") : "";
}

export function planText({ rounds, problems, waiting, joined }: ClusterPlan): string {
  const steps = rounds.flatMap((round, index) => [
    `round ${index + 1}`,
    ...round.map(({ title, node }) => `  ${node.padEnd(12)} ${title}`),
  ]);
  const done = joined.length > 0 ? [`joined: ${joined.join(", ")}`] : [];
  const nothing = rounds.length + problems.length + waiting.length === 0 ? ["There is nothing to do"] : [];
  return [
    ...done,
    ...steps,
    ...problems.map(({ cause, message }) => `${coloured(cause, "yellow")}: ${message}`),
    ...waiting.map((text) => `waits: ${text}`),
    ...nothing,
  ].join("\n");
}
