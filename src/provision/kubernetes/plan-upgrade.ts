/** Another version in the manifest: control plane first, one node at a time, each without its work meanwhile. */
import type { ClusterNode } from "./observed.ts";
import { type Finding, managersOf, type Situation } from "./plan.ts";
import { kubernetesProblem } from "./problems.ts";

export function upgrade(situation: Situation): Finding {
  const { settings, view, local, usable } = situation;
  const underWay = view.nodes.find(({ drainReason }) => drainReason === "upgrade");
  const next = underWay ?? nextToUpgrade(situation);
  if (next === undefined) return {};
  const { name: node } = next;
  const through = view.through;
  if (next.version === settings.version) {
    if (!next.isReady) return { waiting: [`${node} to be Ready with ${settings.version}`] };
    return { step: { kind: "uncordon", node, title: `give ${node} work again`, through } };
  }
  const skew = skewOf(lowest(view.nodes), settings.version);
  if (skew !== undefined) return { problems: [kubernetesProblem("version-skew", node, settings.what, skew)] };
  if (!usable.some(({ name }) => name === node)) return { waiting: [`${node}, to give it ${settings.version}`] };
  if (!local[node]!.versions.includes(settings.version)) {
    return { problems: [kubernetesProblem("missing", node, settings.what, settings.version)] };
  }
  const other = view.nodes.find(({ name, isControlPlane, isReady }) => name !== node && isControlPlane && !isReady);
  if (other) return { waiting: [`${other.name} to be Ready, before ${node} gets ${settings.version}`] };
  if (next.drainReason === undefined) {
    return { step: { kind: "drain", node, title: `drain ${node}`, through, reason: "upgrade" } };
  }
  const isFirst = view.nodes.every(({ isControlPlane, version }) => !isControlPlane || version !== settings.version);
  const title = `give ${node} version ${settings.version}`;
  return { step: { kind: "upgrade", node, title, version: settings.version, through, isFirst } };
}

function nextToUpgrade({ settings, desired, nodes }: Situation): ClusterNode | undefined {
  const managers = managersOf(desired);
  const workers = desired.members.filter((member) => member.wish !== "out" && !managers.includes(member));
  return [...managers, ...workers]
    .flatMap(({ name }) => nodes.get(name) ?? [])
    .find(({ version }) => version !== settings.version);
}

/** Members that the control plane does not know yet have no version. */
function lowest(nodes: readonly ClusterNode[]): string {
  return nodes.map(({ version }) => version).reduce((a, b) => (compareVersions(a, b) <= 0 ? a : b));
}

/** What stands against going from one version to the other. */
export function skewOf(from: string, to: string): string | undefined {
  const [fromMinor, toMinor] = [from, to].map((version) => numbersOf(version)[1] ?? 0);
  if (toMinor! - fromMinor! > 1)
    return `${from} runs in the cluster, and ${to} is ${toMinor! - fromMinor!} minor versions above`;
  if (compareVersions(to, from) < 0) return `${from} runs in the cluster, and ${to} is below`;
  return undefined;
}

function numbersOf(version: string): number[] {
  return Array.from(version.matchAll(/\d+/g), ([digits]) => Number(digits));
}

/** Of `v1.31.4` and `v1.31.4+k3s1`: by their numbers. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  const length = Math.max(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
