import type { Simulation } from "../lab/simulation.ts";

/** As `docker node ls` has it. */
export interface SwarmMember {
  ID: string;
  Hostname: string;
  Status: string;
  Availability: string;
  ManagerStatus: string;
}

/** By name, as this manager lists them. Throws when it cannot. */
export function swarmMembers(cluster: Simulation, manager: string): SwarmMember[] {
  return cluster
    .ssh(manager, "sudo docker node ls --format '{{json .}}'")
    .split("\n")
    .map((line) => JSON.parse(line) as SwarmMember)
    .sort((one, other) => (one.Hostname < other.Hostname ? -1 : 1));
}

export function memberLine({ Hostname, Status, ManagerStatus }: SwarmMember): string {
  return `${Hostname} ${Status} ${ManagerStatus}`.trim();
}
