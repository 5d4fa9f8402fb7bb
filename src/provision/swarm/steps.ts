/** What can be done about a node of a Swarm, as data, and what will be seen when it is done. */
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { ClusterStep, MemberRole } from "../orchestrator.ts";
import type { Availability, Host, LocalSwarm, ObservedSwarm, SwarmEntry } from "./observed.ts";

/** `via`: the manager that is asked to do it. `id`: of the node's entry in the swarm. */
export type SwarmStep = ClusterStep &
  (
    | { kind: "init"; address: Ipv4 }
    | { kind: "join"; role: MemberRole; address: Ipv4; via: string; managerAddress: Ipv4 }
    | {
        kind: "update";
        via: string;
        id: string;
        /** `undefined`: it is removed. */
        labels: Readonly<Record<string, string | undefined>>;
        role?: MemberRole;
        availability?: Availability;
        /** It is over when the node's work is gone, or a limit of time is. Not for one that may be off: its work never ends. */
        awaitsEnd?: true;
      }
    /** Runs work on it and reaches it from `via`. */
    | { kind: "try"; via: string; id: string; address: Ipv4; bootId: string }
    /** Leaves the swarm that it is in. `isManager`: with what it knows of that. */
    | { kind: "leave"; isManager: boolean }
    /** Has managers forget an entry whose node is down. */
    | { kind: "forget"; via: string; id: string; isManager: boolean }
  );

export function expectSwarm(observed: ObservedSwarm, step: SwarmStep): ObservedSwarm {
  switch (step.kind) {
    case "init": {
      const id = `expected-${step.node}`;
      const manager = { isReachable: true, isLeader: true, address: step.address };
      const founded = withCluster(observed, id, [{ ...newEntry(step.node, id, "manager"), manager }]);
      return withLocal(founded, step.node, joinedSwarm(id, id, true, [step.address]));
    }
    case "join": {
      const cluster = clusterOfManager(observed, step.via);
      if (cluster === undefined) return observed;
      const id = `expected-${step.node}-${cluster.entries.length}`;
      const entry = newEntry(step.node, id, step.role);
      const manager = { isReachable: true, isLeader: false, address: step.address };
      const isManager = step.role === "manager";
      const entries = [...cluster.entries, isManager ? { ...entry, manager } : entry];
      const joined = withCluster(observed, cluster.id, entries);
      return withLocal(joined, step.node, joinedSwarm(id, cluster.id, isManager, [step.managerAddress]));
    }
    case "update":
      return expectUpdate(observed, step);
    case "try":
      return { ...observed, tried: new Set([...observed.tried, step.node]) };
    case "leave":
      return expectLeave(observed, step.node);
    case "forget":
      return withEntries(observed, step.via, (entries) => entries.filter(({ id }) => id !== step.id));
  }
}

function expectUpdate(observed: ObservedSwarm, step: SwarmStep & { kind: "update" }): ObservedSwarm {
  const { id, role, availability } = step;
  const cluster = clusterOfManager(observed, step.via);
  const changed = withEntries(observed, step.via, (entries) =>
    entries.map((entry) => {
      if (entry.id !== id) return entry;
      const { manager, ...rest } = entry;
      const isManager = (role ?? entry.role) === "manager";
      const voice = manager ?? { isReachable: entry.state === "ready", isLeader: false, address: "" };
      return {
        ...rest,
        role: role ?? entry.role,
        availability: availability ?? entry.availability,
        labels: withLabels(entry.labels, step.labels),
        ...(isManager && { manager: voice }),
      };
    }),
  );
  if (role === undefined || cluster === undefined) return changed;
  const node = Array.from(observed.hosts.keys()).find((name) => localOf(observed.hosts.get(name))?.nodeId === id);
  const local = node === undefined ? undefined : localOf(observed.hosts.get(node));
  if (node === undefined || local === undefined) return changed;
  const { clusterId, ...rest } = local;
  const isManager = role === "manager";
  return withLocal(changed, node, { ...rest, isManager, ...(isManager && { clusterId: cluster.id }) });
}

function expectLeave(observed: ObservedSwarm, node: string): ObservedSwarm {
  const local = localOf(observed.hosts.get(node));
  const left = withLocal(observed, node, {
    state: "inactive",
    nodeId: "",
    isManager: false,
    managerAddresses: [],
    words: "",
  });
  const clusters = new Map(
    Array.from(left.clusters, ([id, entries]) => [
      id,
      entries.map((entry) => (entry.id === local?.nodeId ? down(entry) : entry)),
    ]),
  );
  // The last manager takes the cluster with it.
  const hasManager = Array.from(left.hosts.values(), (host) => localOf(host)?.clusterId);
  return { ...left, clusters: new Map([...clusters].filter(([id]) => hasManager.includes(id))) };
}

function down(entry: SwarmEntry): SwarmEntry {
  const { manager } = entry;
  return { ...entry, state: "down", ...(manager && { manager: { ...manager, isReachable: false, isLeader: false } }) };
}

export function withLabels(
  labels: Readonly<Record<string, string>>,
  changes: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const entries = Object.entries({ ...labels, ...changes }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Record<string, string>;
}

function newEntry(node: string, id: string, role: MemberRole): SwarmEntry {
  return { id, hostname: node, labels: {}, role, availability: "active", state: "ready" };
}

function joinedSwarm(id: string, clusterId: string, isManager: boolean, managerAddresses: string[]): LocalSwarm {
  return { state: "active", nodeId: id, isManager, managerAddresses, words: "", ...(isManager && { clusterId }) };
}

function localOf(host: Host | undefined): LocalSwarm | undefined {
  return host?.kind === "answered" && host.docker.kind === "running" ? host.docker.swarm : undefined;
}

function withLocal(observed: ObservedSwarm, node: string, swarm: LocalSwarm): ObservedSwarm {
  const host = observed.hosts.get(node);
  if (host?.kind !== "answered" || host.docker.kind !== "running") return observed;
  const changed: Host = { ...host, docker: { ...host.docker, swarm } };
  return { ...observed, hosts: new Map(observed.hosts).set(node, changed) };
}

function clusterOfManager(observed: ObservedSwarm, node: string) {
  const id = localOf(observed.hosts.get(node))?.clusterId;
  const entries = id === undefined ? undefined : observed.clusters.get(id);
  return id === undefined || entries === undefined ? undefined : { id, entries };
}

function withCluster(observed: ObservedSwarm, id: string, entries: readonly SwarmEntry[]): ObservedSwarm {
  return { ...observed, clusters: new Map(observed.clusters).set(id, entries) };
}

function withEntries(
  observed: ObservedSwarm,
  via: string,
  change: (entries: readonly SwarmEntry[]) => readonly SwarmEntry[],
): ObservedSwarm {
  const cluster = clusterOfManager(observed, via);
  return cluster ? withCluster(observed, cluster.id, change(cluster.entries)) : observed;
}
