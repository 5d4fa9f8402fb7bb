/** How a node that is wanted no longer gives its work and its place away. */
import type { DesiredMember } from "../orchestrator.ts";
import { type Draft, type ListedSwarm, staysQuorate } from "./draft.ts";
import { DRAINED_LABEL } from "./labels.ts";
import { ownerOf, type SwarmEntry } from "./observed.ts";
import { lastManager } from "./problems.ts";

/** A worker is drained first, and then leaves; a manager is made a worker before. */
export function planDeparture(draft: Draft, swarm: ListedSwarm, member: DesiredMember, entry: SwarmEntry): void {
  const { name } = member;
  const change = { kind: "update", node: name, via: swarm.via.name, id: entry.id, labels: {} } as const;
  if (entry.role === "manager") {
    planManagerDeparture(draft, swarm, member, entry);
  } else if (entry.manager) {
    draft.waiting.push(`${name} is being made a worker`);
  } else if (entry.availability !== "drain" && entry.state === "ready") {
    draft.add({ ...change, title: `drain ${name}`, availability: "drain", awaitsEnd: true });
  } else {
    draft.add({ kind: "leave", node: name, title: `have ${name} leave the swarm`, isManager: false });
  }
}

function planManagerDeparture(draft: Draft, swarm: ListedSwarm, { name }: DesiredMember, entry: SwarmEntry): void {
  const { entries, via } = swarm;
  const others = entries.filter((each) => each !== entry && each.state !== "down");
  const isDissolved = draft.members.every(({ wish }) => wish === "out");
  if (isDissolved && others.length === 0) {
    draft.add({ kind: "leave", node: name, title: `dissolve the swarm on ${name}, its last member`, isManager: true });
  } else if (isDissolved ? mayGoBeforeTheLast(draft, entries, entry) : draft.takeVoice(entry, swarm)) {
    const title = `make ${name} a worker`;
    draft.add({ kind: "update", node: name, title, via: via.name, id: entry.id, labels: {}, role: "worker" });
  } else if (draft.isManagerChanging || (isDissolved && others.every((each) => isMember(draft, each)))) {
    draft.waiting.push(`${name} leaves when the others have`);
  } else {
    draft.problems.push(lastManager(name, others.map(ownerOf)));
  }
}

function mayGoBeforeTheLast(draft: Draft, entries: readonly SwarmEntry[], entry: SwarmEntry): boolean {
  return staysQuorate(entries, entry) && draft.takeManagerChange();
}

function isMember({ members }: Draft, entry: SwarmEntry): boolean {
  return members.some(({ name }) => name === ownerOf(entry));
}

/** What somebody else drained stays so. */
export function availabilityChange(
  { wish }: DesiredMember,
  { availability, labels }: SwarmEntry,
): "active" | "drain" | undefined {
  if (wish === "drained") return availability === "drain" ? undefined : "drain";
  return availability === "drain" && labels[DRAINED_LABEL] !== undefined ? "active" : undefined;
}
