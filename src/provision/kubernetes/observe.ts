/** Asks the nodes that are ready what they hold of the cluster, and one of the control plane what it knows. */
import type { RemoteShell } from "../../ports.ts";
import type { DesiredCluster, DesiredMember } from "../orchestrator.ts";
import { lastWords, shellProblem } from "../problems.ts";
import type { Flavour } from "./flavour.ts";
import { nodesScript } from "./kubectl-scripts.ts";
import { parseNodeList } from "./node-list.ts";
import type { ClusterView, Identity, LocalState, ObservedKubernetes, Obstacle } from "./observed.ts";
import { saidValues } from "./script.ts";

/** A Pi 3 under load takes its time to answer, and k3s's own kubectl even more. */
const ASK_TIMEOUT_MS = 90_000;

const NOTHING_KNOWN: LocalState = {
  bootId: "",
  identity: "none",
  isActive: false,
  isHealthy: false,
  isShared: false,
  versions: [],
  isConfigured: false,
};

export async function observeKubernetes(
  flavour: Flavour,
  desired: DesiredCluster,
  shell: RemoteShell,
): Promise<ObservedKubernetes> {
  const ready = desired.members.filter(({ isReady }) => isReady);
  const states = await Promise.all(
    ready.map(async (member) => [member.name, await askNode(flavour, member, shell)] as const),
  );
  const local = Object.fromEntries(states);
  for (const name of askedInTurn(ready, local)) {
    const cluster = await askCluster(flavour, name, local[name]!.clusterId!, shell);
    if (cluster !== undefined) return { local, cluster };
  }
  return { local };
}

/** Those of the control plane that answered, managers of the manifest first. */
function askedInTurn(ready: readonly DesiredMember[], local: Readonly<Record<string, LocalState>>): string[] {
  const healthy = ready.filter(({ name }) => local[name]!.isHealthy && local[name]!.clusterId !== undefined);
  const [managers, others] = [
    healthy.filter(({ role }) => role === "manager"),
    healthy.filter(({ role }) => role !== "manager"),
  ];
  return [...managers, ...others].map(({ name }) => name);
}

async function askNode(flavour: Flavour, member: DesiredMember, shell: RemoteShell): Promise<LocalState> {
  const { name } = member;
  const outcome = await shell.run(name, flavour.observe(member), ASK_TIMEOUT_MS);
  if (outcome.kind !== "ended") {
    const { message } = shellProblem(name, `Cannot ask ${name} about the cluster`, outcome);
    return { ...NOTHING_KNOWN, obstacle: "unreachable", detail: message };
  }
  return (
    parseLocalState(outcome.stdout) ?? { ...NOTHING_KNOWN, obstacle: "unclear", detail: lastWords(outcome.stderr) }
  );
}

async function askCluster(
  { access }: Flavour,
  through: string,
  id: string,
  shell: RemoteShell,
): Promise<ClusterView | undefined> {
  const outcome = await shell.run(through, nodesScript(access), ASK_TIMEOUT_MS);
  const nodes = outcome.kind === "ended" ? parseNodeList(outcome.stdout) : undefined;
  return nodes && { through, id, nodes };
}

const IDENTITIES: readonly Identity[] = ["server", "agent", "none"];
const OBSTACLES: readonly Obstacle[] = ["architecture", "storage", "cgroup"];

/** `undefined` for what a node cannot have said to its end. */
export function parseLocalState(text: string): LocalState | undefined {
  const values = saidValues(text);
  const one = (key: string) => values.get(key)?.at(-1);
  const identity = IDENTITIES.find((each) => each === one("identity"));
  const [obstacleWord, ...detail] = one("obstacle")?.split(" ") ?? [];
  const obstacle = OBSTACLES.find((each) => each === obstacleWord);
  const clusterId = one("clusterId");
  const current = one("current");
  if (identity === undefined || one("end") !== "yes") return undefined;
  return {
    ...(obstacle && { obstacle, detail: detail.join(" ") }),
    bootId: one("bootId") ?? "",
    identity,
    isActive: one("service") === "active",
    isHealthy: one("healthy") === "yes",
    isShared: one("shared") === "yes",
    ...(clusterId && { clusterId }),
    versions: values.get("version") ?? [],
    ...(current && { current }),
    isConfigured: one("configured") === "yes",
  };
}
