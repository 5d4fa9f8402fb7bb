import type { Diagnosis } from "../cluster/diagnosis/index.ts";
import { isUp, type Stage } from "../cluster/event.ts";
import type { ManagerStatusView, NodeStatusView } from "../manager/status-view.ts";
import type { ConfigurationView } from "../provision/configuration.ts";
import { coloured, formatBytes, formatDuration, formatTable, progressBar } from "./table.ts";

const STAGE_COLOURS: Record<Stage, Parameters<typeof coloured>[1]> = {
  silent: "dim",
  dhcp: "yellow",
  firmware: "cyan",
  kernel: "cyan",
  root: "blue",
  up: "green",
  joined: "green",
};

/** All nodes at a moment, with a bar for each boot under way. */
export function statusTable(status: ManagerStatusView, nowMs: number): string {
  const rows = status.nodes.map((node) => [
    node.name,
    stageCell(node),
    progressBar(node.bootFraction),
    node.model ?? "-",
    node.address ?? "-",
    formatBytes(node.usedBytes),
    noteOf(node, nowMs),
  ]);
  const strangers = status.unknownPis.map(
    (pi) =>
      `an unknown Pi asks to boot: ${pi.mac}${pi.serial ? `, serial ${pi.serial}` : ""}; make it a node with: bramble nodes adopt ${pi.serial ?? pi.mac} --name NAME`,
  );
  return [
    formatTable(["NODE", "STAGE", "BOOT", "MODEL", "ADDRESS", "WRITTEN", ""], rows),
    ...strangers.map((line) => coloured(line, "yellow")),
    ...diagnosisLines(status),
    ...clusterLines(status),
  ].join("\n");
}

/** In a storm many nodes have one cause: it is told once. */
const NAMES_SHOWN_MAX = 5;

function diagnosisLines({ diagnosis: ofNetwork, nodes }: ManagerStatusView): string[] {
  const byCause = new Map<string, { names: string[]; diagnosis: Diagnosis }>();
  for (const { name, diagnosis } of nodes) {
    if (diagnosis === undefined) continue;
    const known = byCause.get(diagnosis.cause) ?? { names: [], diagnosis };
    known.names.push(name);
    byCause.set(diagnosis.cause, known);
  }
  return [
    ...(ofNetwork ? [diagnosisLine("network", ofNetwork)] : []),
    ...[...byCause.values()].map(({ names, diagnosis }) => diagnosisLine(nodeNames(names), diagnosis)),
  ];
}

/** What stands in the way of the cluster; of single nodes their own lines tell. */
function clusterLines({ clusterProblems = [] }: ManagerStatusView): string[] {
  return clusterProblems
    .filter(({ node }) => node === undefined)
    .map(({ cause, message }) => `${coloured(`cluster: ${cause}`, "yellow")}: ${message}`);
}

function nodeNames(names: readonly string[]): string {
  const rest = names.length - NAMES_SHOWN_MAX;
  return `${names.slice(0, NAMES_SHOWN_MAX).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function diagnosisLine(who: string, { cause, title, evidence, remedy }: Diagnosis): string {
  return `${coloured(`${who}: ${title} (${cause})`, "red")}: ${evidence}. ${remedy}`;
}

function stageCell(node: NodeStatusView): string {
  if (node.isStalled) return coloured(`${node.stage}, stalled`, "red");
  if (node.noAnswerSinceMs !== undefined) return coloured(`${node.stage}, no answer`, "red");
  return coloured(node.stage, STAGE_COLOURS[node.stage]);
}

const CONFIGURATION_WORDS: Partial<Record<ConfigurationView["state"], string>> = {
  waiting: "to be configured",
  done: "configured",
};

function noteOf(node: NodeStatusView, nowMs: number): string {
  if (node.transfer) {
    const { path, sentBytes, sizeBytes } = node.transfer;
    return `${path} ${formatBytes(sentBytes)} of ${formatBytes(sizeBytes)}`;
  }
  if (node.diagnosis !== undefined) return coloured(node.diagnosis.title, "red");
  if (node.problem !== undefined) return coloured(node.problem, "yellow");
  if (node.stage === "silent") return "";
  const since = formatDuration(Math.max(0, nowMs - node.stageSinceMs));
  if (!isUp(node.stage)) return `for ${since}`;
  if (node.configuration?.state === "running") return `configuring: ${node.configuration.task ?? "begins"}`;
  if (node.clusterStep) return `${node.clusterStep.title} for ${formatDuration(nowMs - node.clusterStep.sinceMs)}`;
  const boot = node.lastBoot?.stages.at(-1);
  const what = node.stage === "joined" ? "joined" : "booted";
  const isFor = boot
    ? `${what} in ${formatDuration(boot.fromMs)}, ${node.stage} for ${since}`
    : `${node.stage} for ${since}`;
  const state = node.configuration && CONFIGURATION_WORDS[node.configuration.state];
  return state === undefined ? isFor : `${isFor}, ${state}`;
}

/** How long a boot stood at each stage: `dhcp 0.1 s · firmware 2.4 s · …`. */
export function bootTimeline(node: NodeStatusView): string {
  const { lastBoot } = node;
  if (!lastBoot) return `${node.name}: no boot seen`;
  const steps = lastBoot.stages.map(({ stage, durationMs, fromMs }, index) =>
    index === lastBoot.stages.length - 1 && isUp(stage)
      ? `${stage} after ${formatDuration(fromMs)}`
      : `${stage} ${formatDuration(durationMs)}`,
  );
  return `${node.name}: ${steps.join(" · ")} (${formatBytes(lastBoot.sentBytes)} by TFTP)`;
}
