/** What keeps a node out of a Swarm, or a Swarm from working: found in what was observed. */
import type { ClusterProblem } from "../../cluster/cluster-problem.ts";
import type { DesiredMember } from "../orchestrator.ts";
import type { Host, ObservedSwarm, SwarmEntry } from "./observed.ts";

/** A manager dates the certificates that it gives an hour back, so that clocks may differ by that. */
const CLOCK_SKEW_MAX_MS = 45 * 60_000;

/** File systems of Docker that were made for layers. Without one Docker copies every image whole for every container. */
const LAYERED_DRIVERS: ReadonlySet<string> = new Set(["overlay2", "overlayfs", "btrfs", "zfs", "fuse-overlayfs"]);

/** Why a node cannot be a member as it is; `first`: the architecture of the first manager, as far as it is known. */
export function hostProblem(node: string, host: Host, nowMs: number): ClusterProblem | undefined {
  if (host.kind === "silent") return host.problem;
  const found = dockerProblem(node, host) ?? skewProblem(node, host.unixMs, nowMs);
  return found && { ...found, node };
}

function dockerProblem(node: string, { docker, lacksAppArmor, architecture }: Host & { kind: "answered" }) {
  switch (docker.kind) {
    case "missing":
      return {
        cause: "docker-missing",
        message: `Cannot join ${node} to the swarm: its image has no Docker; install it ("bramble configure" with role docker, docs/CLUSTER.md), or use an image that has it`,
      };
    case "unusable":
      return {
        cause: "wrong-architecture",
        message: `Cannot join ${node} to the swarm: its docker does not run on ${architecture}: ${docker.words}; install Docker for ${architecture}, or use the image for another architecture`,
      };
    case "stopped":
      return {
        cause: "docker-stopped",
        message: `Cannot join ${node} to the swarm: Docker does not run there: ${docker.words}; see "bramble ssh ${node} sudo journalctl -u docker"`,
      };
    case "running":
      if (!LAYERED_DRIVERS.has(docker.driver)) {
        return {
          cause: "storage-driver",
          message: `Cannot join ${node} to the swarm: Docker keeps containers with driver ${docker.driver || "unknown"}, not overlay2: its root over NFS takes no overlays; set storage: { kind: loop, size: 8GiB } and restart the node`,
        };
      }
      if (docker.swarm.state === "locked") {
        return {
          cause: "swarm-locked",
          message: `Cannot go on with the swarm on ${node}: it is locked, and only its key opens it; give it to "docker swarm unlock" on the node, and switch autolock off: Bramble keeps no such key`,
        };
      }
      return lacksAppArmor
        ? {
            cause: "apparmor-missing",
            message: `Cannot run containers on ${node}: its kernel confines them by AppArmor, and apparmor_parser is not there; install package apparmor (role docker does), or add apparmor=0 to cmdline`,
          }
        : undefined;
  }
}

function skewProblem(node: string, unixMs: number, nowMs: number) {
  const skewMs = unixMs - nowMs;
  if (Math.abs(skewMs) <= CLOCK_SKEW_MAX_MS) return undefined;
  const minutes = Math.round(Math.abs(skewMs) / 60_000);
  return {
    cause: "clock-wrong",
    message: `Cannot join ${node} to the swarm: its clock is ${minutes} minutes ${skewMs < 0 ? "behind" : "ahead"}, so certificates are not valid; look at "timedatectl" there: it needs a time server that it reaches`,
  };
}

/** All that is known of what differs among nodes that run: work for one does not run on the other. */
export function architectureProblems(members: readonly DesiredMember[], observed: ObservedSwarm): ClusterProblem[] {
  const known = members.flatMap(({ name, wish }) => {
    const host = observed.hosts.get(name);
    return host?.kind === "answered" && wish !== "out" ? [{ name, architecture: host.architecture }] : [];
  });
  const first = known[0];
  if (first === undefined) return [];
  return known
    .filter(({ architecture }) => architecture !== first.architecture)
    .map(({ name, architecture }) => ({
      cause: "mixed-architectures",
      node: name,
      message: `${name} runs ${architecture}, and ${first.name} ${first.architecture}: it is joined, but an image for one of them only does not run on the other; use one 32-bit or 64-bit image for all, or images for both`,
    }));
}

export function quorumLost(managers: readonly DesiredMember[], seen: readonly string[], words: string): ClusterProblem {
  const absent = managers.filter(({ name }) => !seen.includes(name)).map(({ name }) => name);
  const survivor = managers.find(({ name }) => seen.includes(name));
  const start = absent.length > 0 ? `start ${absent.join(", ")}; if they are lost for good, ` : "";
  return {
    cause: "quorum-lost",
    message: `Cannot change the swarm: ${seen.join(", ")} hear no more than half of its managers${words ? ` (${words})` : ""}; running work goes on; ${start}make one of those that are left the only manager, by "docker swarm init --force-new-cluster --advertise-addr ${survivor?.address ?? "ADDRESS"}" on ${survivor?.name ?? seen[0]}: the others then join again by themselves`,
  };
}

export function managersAbsent(names: readonly string[]): ClusterProblem {
  return {
    cause: "managers-absent",
    message: `Cannot make a new swarm: ${names.join(", ")} managed one and cannot be asked, so it may still be there; start ${names.join(", ")}, or name other nodes in orchestrator.managers`,
  };
}

export function elsewhere(node: string, managerAddresses: readonly string[]): ClusterProblem {
  const where = managerAddresses.length > 0 ? `one managed by ${managerAddresses.join(", ")}` : "another one";
  return {
    cause: "other-swarm",
    node,
    message: `Cannot join ${node} to the swarm: it is in ${where}, which Bramble did not make; if that one is not needed, run "docker swarm leave --force" on ${node}`,
  };
}

export function copied(node: string, original: string): ClusterProblem {
  return {
    cause: "copied-identity",
    node,
    message: `Cannot join ${node} to the swarm: its Docker takes itself for that of ${original}, whose files it was given (bramble nodes clone); run "bramble ssh ${node} sudo docker swarm leave --force", or "bramble nodes reset ${node}" and restart it: it then joins by itself`,
  };
}

export function addressChanged(member: DesiredMember, { manager }: SwarmEntry): ClusterProblem | undefined {
  const { name, address } = member;
  if (manager === undefined || address === undefined || manager.address === "" || manager.address === address)
    return undefined;
  return {
    cause: "manager-address-changed",
    node: name,
    message: `Cannot rely on manager ${name}: the swarm knows it by ${manager.address}, and it has ${address} now; give it the old address (nodes[].address), or run "bramble cluster remove ${name}" and then "bramble cluster join ${name}"`,
  };
}

export function drainedByHand(node: string, availability: string): ClusterProblem {
  return {
    cause: "not-active",
    node,
    message: `Cannot try work on ${node}: somebody set its availability to ${availability}; run "docker node update --availability active ${node}" on a manager when it may have work again`,
  };
}

export function lastManager(node: string, others: readonly string[]): ClusterProblem {
  return {
    cause: "last-manager",
    node,
    message: `Cannot take ${node} out of the swarm: it is needed as a manager${others.length > 0 ? ` of ${others.join(", ")}` : ""}; name others in orchestrator.managers first, or dissolve the cluster by "bramble cluster leave"`,
  };
}
