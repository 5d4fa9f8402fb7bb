/** What is seen of a Docker Swarm: what each node says of itself, and what managers say of all. */
import type { ClusterProblem } from "../../cluster/cluster-problem.ts";
import type { MemberRole } from "../orchestrator.ts";

export type Availability = "active" | "pause" | "drain";

/** A member as managers list it. One that lost its files and joined again has two entries for a while. */
export interface SwarmEntry {
  id: string;
  hostname: string;
  labels: Readonly<Record<string, string>>;
  role: MemberRole;
  availability: Availability;
  state: "ready" | "down" | "unknown" | "disconnected";
  memoryBytes?: number;
  /** It has a voice among managers. Follows `role` after some seconds. */
  manager?: { isReachable: boolean; isLeader: boolean; address: string };
}

/** What a node's Docker says of the swarm that it is in. */
export interface LocalSwarm {
  state: "inactive" | "pending" | "active" | "error" | "locked";
  nodeId: string;
  isManager: boolean;
  /** Where it looks for managers, without ports. */
  managerAddresses: readonly string[];
  /** Docker's words on what is wrong. */
  words: string;
  /** Of a manager that could list the members: more than half of the managers hear one another. */
  clusterId?: string;
}

export type HostDocker =
  | { kind: "missing" }
  /** The program does not run: mostly one for another processor. */
  | { kind: "unusable"; words: string }
  | { kind: "stopped"; words: string }
  | { kind: "running"; driver: string; swarm: LocalSwarm };

export type Host =
  | { kind: "silent"; problem: ClusterProblem }
  | {
      kind: "answered";
      /** Its clock. */
      unixMs: number;
      /** Changes with every start of its kernel. */
      bootId: string;
      /** Since its kernel started. */
      uptimeS: number;
      /** Of its packages, as `arm64`; of its kernel where it has no dpkg. */
      architecture: string;
      /** The kernel confines containers by AppArmor, and the program that loads profiles is not there. */
      lacksAppArmor: boolean;
      docker: HostDocker;
    };

export interface ObservedSwarm {
  /** The clock of whoever observed. */
  unixMs: number;
  /** Of the nodes that were asked. */
  hosts: ReadonlyMap<string, Host>;
  /** Members by cluster: one, but for accidents. */
  clusters: ReadonlyMap<string, readonly SwarmEntry[]>;
  /** Nodes on which work was tried since they started. */
  tried: ReadonlySet<string>;
}

/** `undefined` where Docker does not run, as far as is known. */
export function localSwarm(observed: ObservedSwarm, node: string): LocalSwarm | undefined {
  const host = observed.hosts.get(node);
  return host?.kind === "answered" && host.docker.kind === "running" ? host.docker.swarm : undefined;
}

/** Label of whom Bramble joined. What has none is left alone. */
export const NODE_LABEL = "bramble.node";

export function ownerOf({ labels, hostname }: SwarmEntry): string {
  return labels[NODE_LABEL] ?? hostname;
}

/**
 * Nodes of the manifest that have the identity of another one, whose name is the value: their files are a copy of its files. Whose it is
 * says the name by which the swarm knows it; if that is nobody's of these, who comes first.
 */
export function copiesOf(members: readonly { name: string }[], observed: ObservedSwarm): ReadonlyMap<string, string> {
  const names = new Set(members.map(({ name }) => name));
  const entries = [...observed.clusters.values()].flat();
  const holders = new Map<string, string>();
  const copies = new Map<string, string>();
  for (const { name } of members) {
    const id = localSwarm(observed, name)?.nodeId ?? "";
    if (id === "") continue;
    const entry = entries.find((each) => each.id === id);
    const known = entry && ownerOf(entry);
    const owner = known !== undefined && names.has(known) ? known : (holders.get(id) ?? name);
    holders.set(id, owner);
    if (owner !== name) copies.set(name, owner);
  }
  return copies;
}
