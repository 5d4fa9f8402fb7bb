/**
 * Asks nodes about their Docker and their Swarm, each by one script: where the processor is slow, a login and each command take seconds.
 * Documents: `docker info` and `docker node inspect` as JSON (API 1.41: Docker 20.10, the version of Debian 12).
 */
import { z } from "zod";
import type { RemoteShell, ShellOutcome } from "../../ports.ts";
import type { DesiredCluster, DesiredMember } from "../orchestrator.ts";
import { lastWords, shellProblem } from "../problems.ts";
import type { Host, HostDocker, LocalSwarm, ObservedSwarm, SwarmEntry } from "./observed.ts";

/** Docker takes half a minute to start where the processor is emulated, and `docker info` waits for it. */
const OBSERVE_TIMEOUT_MS = 180_000;

/** Parts begin with a line `@@ name`. Not by echo: that of dash makes line ends of the `\\n` that JSON has in certificates. */
export const OBSERVE_SCRIPT = `show() { printf '%s\\n' "$1"; }
say() { printf '\\n@@ %s\\n' "$1"; }
say clock
date +%s
say uptime
cut -d . -f 1 /proc/uptime
say boot
cat /proc/sys/kernel/random/boot_id
say architecture
dpkg --print-architecture 2>/dev/null || uname -m
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && ! command -v apparmor_parser >/dev/null; then
  say lacks-apparmor
fi
if ! command -v docker >/dev/null; then
  say docker-missing
  exit 0
fi
if ! version=$(docker --version 2>&1); then
  say docker-unusable
  show "$version"
  exit 0
fi
info=$(timeout 150 docker info --format '{{json .}}' 2>&1)
say info
show "$info"
case $info in
  *'"ControlAvailable":true'*)
    if ids=$(timeout 20 docker node ls --quiet 2>&1) && nodes=$(timeout 60 docker node inspect $ids 2>&1); then
      say nodes
      show "$nodes"
    else
      say nodes-failed
      show "$ids $nodes"
    fi
    ;;
esac
`;

/** `wasTried`: whether work was tried on a node since a start of its kernel. */
export async function observeSwarm(
  desired: DesiredCluster,
  shell: RemoteShell,
  unixMs: () => number,
  wasTried: (node: string, bootId: string) => boolean,
): Promise<ObservedSwarm> {
  const asked = desired.members.filter(({ isReady }) => isReady);
  const answers = await Promise.all(asked.map((member) => observeHost(member, shell)));
  const clusters = new Map<string, readonly SwarmEntry[]>();
  for (const { cluster } of answers) {
    if (cluster && !clusters.has(cluster.id)) clusters.set(cluster.id, cluster.entries);
  }
  return {
    unixMs: unixMs(),
    hosts: new Map(answers.map(({ name, host }) => [name, host])),
    clusters,
    tried: new Set(
      answers.filter(({ name, host }) => "bootId" in host && wasTried(name, host.bootId)).map(({ name }) => name),
    ),
  };
}

interface Answer {
  name: string;
  host: Host;
  cluster?: { id: string; entries: readonly SwarmEntry[] };
}

async function observeHost({ name }: DesiredMember, shell: RemoteShell): Promise<Answer> {
  const outcome = await shell.run(name, OBSERVE_SCRIPT, OBSERVE_TIMEOUT_MS);
  return hostAnswer(name, outcome);
}

export function hostAnswer(name: string, outcome: ShellOutcome): Answer {
  const task = `Cannot look at Docker on ${name}`;
  if (outcome.kind !== "ended") {
    return { name, host: { kind: "silent", problem: shellProblem(name, task, outcome) } };
  }
  const parts = partsOf(outcome.stdout);
  const clock = Number(parts.get("clock"));
  if (!Number.isSafeInteger(clock) || clock === 0) {
    const reason = `its answer is not understood: ${lastWords(outcome.stderr || outcome.stdout)}`;
    return { name, host: { kind: "silent", problem: shellProblem(name, task, { kind: "unreachable", reason }) } };
  }
  const { docker, cluster } = dockerOf(parts);
  const host: Host = {
    kind: "answered",
    unixMs: clock * 1000,
    bootId: parts.get("boot") ?? "",
    uptimeS: Number(parts.get("uptime")) || 0,
    architecture: parts.get("architecture") ?? "",
    lacksAppArmor: parts.has("lacks-apparmor"),
    docker,
  };
  return { name, host, ...(cluster && { cluster }) };
}

function partsOf(text: string): Map<string, string> {
  const parts = text.split(/^@@ /m).slice(1);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf("\n");
      return [part.slice(0, end), part.slice(end + 1).trim()];
    }),
  );
}

function dockerOf(parts: ReadonlyMap<string, string>): { docker: HostDocker; cluster?: Answer["cluster"] } {
  if (parts.has("docker-missing")) return { docker: { kind: "missing" } };
  const unusable = parts.get("docker-unusable");
  if (unusable !== undefined) return { docker: { kind: "unusable", words: lastWords(unusable) } };
  const said = parts.get("info") ?? "";
  // Before it may stand warnings of the program.
  const json = said.split("\n").find((line) => line.startsWith("{"));
  const info = dockerInfo.safeParse(parsed(json ?? ""));
  const serverError = info.data?.ServerErrors?.[0];
  if (!info.success || serverError !== undefined || info.data.Swarm === undefined) {
    return { docker: { kind: "stopped", words: serverError ?? lastWords(said) } };
  }
  const { Swarm: swarm, Driver: driver = "" } = info.data;
  const entries = swarmEntries.safeParse(parsed(parts.get("nodes") ?? ""));
  const id = swarm.Cluster?.ID ?? "";
  const cluster = entries.success && id !== "" ? { id, entries: entries.data } : undefined;
  const local: LocalSwarm = {
    state: swarm.LocalNodeState,
    nodeId: swarm.NodeID,
    isManager: swarm.ControlAvailable,
    managerAddresses: (swarm.RemoteManagers ?? []).map(({ Addr }) => Addr.replace(/:\d+$/, "")),
    words: swarm.Error || lastWords(parts.get("nodes-failed") ?? ""),
    ...(cluster && { clusterId: cluster.id }),
  };
  return { docker: { kind: "running", driver, swarm: local }, ...(cluster && { cluster }) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const dockerInfo = z.looseObject({
  Driver: z.string().optional(),
  ServerErrors: z.array(z.string()).nullish(),
  Swarm: z
    .looseObject({
      NodeID: z.string(),
      LocalNodeState: z.enum(["inactive", "pending", "active", "error", "locked"]).catch("inactive"),
      ControlAvailable: z.boolean(),
      Error: z.string().default(""),
      RemoteManagers: z.array(z.looseObject({ Addr: z.string() })).nullish(),
      Cluster: z.looseObject({ ID: z.string() }).nullish(),
    })
    .optional(),
});

const swarmEntry = z
  .looseObject({
    ID: z.string().regex(/^[a-z0-9]+$/),
    Spec: z.looseObject({
      Labels: z.record(z.string(), z.string()).nullish(),
      Role: z.enum(["manager", "worker"]),
      Availability: z.enum(["active", "pause", "drain"]),
    }),
    Description: z
      .looseObject({
        Hostname: z.string().default(""),
        Resources: z.looseObject({ MemoryBytes: z.number().optional() }).nullish(),
      })
      .nullish(),
    Status: z.looseObject({ State: z.enum(["ready", "down", "unknown", "disconnected"]).catch("unknown") }),
    ManagerStatus: z
      .looseObject({
        Leader: z.boolean().optional(),
        Reachability: z.string().default(""),
        Addr: z.string().default(""),
      })
      .nullish(),
  })
  .transform(({ ID, Spec, Description, Status, ManagerStatus }): SwarmEntry => {
    const memoryBytes = Description?.Resources?.MemoryBytes;
    return {
      id: ID,
      hostname: Description?.Hostname ?? "",
      labels: Spec.Labels ?? {},
      role: Spec.Role,
      availability: Spec.Availability,
      state: Status.State,
      ...(memoryBytes !== undefined && { memoryBytes }),
      ...(ManagerStatus && {
        manager: {
          isReachable: ManagerStatus.Reachability === "reachable",
          isLeader: ManagerStatus.Leader ?? false,
          address: ManagerStatus.Addr.replace(/:\d+$/, ""),
        },
      }),
    };
  });

const swarmEntries = z.array(swarmEntry);
