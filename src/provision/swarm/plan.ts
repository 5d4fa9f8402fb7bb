/**
 * What to do next about a Swarm: pure. Level-triggered: it asks only how things are, never how they came to be so.
 *
 * What keeps it from harm: a swarm is made by the first manager alone, and only when no other manager can have one; of managers one
 * changes at a time, and only so that more than half of them hear one another afterwards; an entry is forgotten only when it is down
 * and known to be Bramble's; a node leaves a swarm only when that is Bramble's, or when it was asked to.
 */
import type { DesiredCluster, DesiredMember, NextSteps } from "../orchestrator.ts";
import { availabilityChange, planDeparture } from "./departure.ts";
import { Draft, type ListedSwarm, staysQuorate } from "./draft.ts";
import { planFounding } from "./founding.ts";
import { labelChanges } from "./labels.ts";
import { type LocalSwarm, localSwarm, NODE_LABEL, type ObservedSwarm, ownerOf, type SwarmEntry } from "./observed.ts";
import { addressChanged, architectureProblems, drainedByHand, elsewhere } from "./problems.ts";
import type { SwarmStep } from "./steps.ts";

export function planSwarm(desired: DesiredCluster, observed: ObservedSwarm): NextSteps<SwarmStep> {
  const draft = new Draft(desired, observed);
  for (const member of desired.members) {
    if (localSwarm(observed, member.name)?.state !== "inactive") continue;
    draft.noteLoss(
      member,
      member.wish === "out" ? "it has left" : "it has left the swarm, or lost the files of Docker",
    );
  }
  const swarm = listedSwarm(draft);
  if (swarm) planMembers(draft, swarm);
  else planFounding(draft);
  draft.problems.push(...architectureProblems(desired.members, observed));
  return draft.nextSteps();
}

/** Of several the one with the most members that are ready, then the one of the first manager. */
function listedSwarm({ members, observed, copies }: Draft): ListedSwarm | undefined {
  const candidates = members.flatMap((member) => {
    const id = member.isReady && !copies.has(member.name) ? localSwarm(observed, member.name)?.clusterId : undefined;
    const entries = id === undefined ? undefined : observed.clusters.get(id);
    return id === undefined || entries === undefined ? [] : [{ member, id, entries }];
  });
  const ready = (entries: readonly SwarmEntry[]) => entries.filter(({ state }) => state === "ready").length;
  const [best] = [...candidates].sort((one, other) => ready(other.entries) - ready(one.entries));
  if (best === undefined) return undefined;
  const managers = candidates.filter(({ id }) => id === best.id).map(({ member }) => member);
  const staying = managers.find(({ wish, role }) => wish !== "out" && role === "manager");
  // Where all leave, the last leaves last.
  return { entries: best.entries, via: staying ?? managers.at(-1)! };
}

function planMembers(draft: Draft, swarm: ListedSwarm): void {
  if (swarm.entries.some(isChanging)) {
    draft.takeManagerChange();
    draft.waiting.push("a manager is being made or unmade");
  }
  for (const member of draft.members) planMember(draft, swarm, member);
  const names = new Set(draft.members.map(({ name }) => name));
  // One of them may have the files of a node that is gone, and so its entry.
  const current = new Set(draft.members.map(({ name }) => localSwarm(draft.observed, name)?.nodeId));
  for (const entry of swarm.entries) {
    const name = entry.labels[NODE_LABEL];
    if (name !== undefined && !names.has(name) && !current.has(entry.id)) planGone(draft, swarm, name, entry);
  }
}

/** Its role and its voice do not agree: managers are at it. Of one that is down they do not come to an end. */
function isChanging({ role, manager, state }: SwarmEntry): boolean {
  return state === "ready" && (role === "manager") !== (manager !== undefined);
}

function planMember(draft: Draft, swarm: ListedSwarm, member: DesiredMember): void {
  const { name, wish, isReady } = member;
  const local = draft.usableSwarm(member);
  const current = local && swarm.entries.find(({ id }) => id === local.nodeId);
  const old = swarm.entries.filter((entry) => ownerOf(entry) === name && entry !== current);
  if (local === undefined) {
    // Whether an entry is an old one is known when the node was asked, or when it is to be out anyway.
    if (wish === "out" && !isReady) forgetOld(draft, swarm, name, old);
    if (draft.observed.hosts.get(name)?.kind === "answered")
      draft.noteLoss(member, "Docker there is not as it should be");
    return;
  }
  forgetOld(draft, swarm, name, old);
  if (wish === "out") {
    if (current) planDeparture(draft, swarm, member, current);
    else if (local.state !== "inactive") draft.leave(member, local);
  } else if (local.state === "inactive") {
    planJoin(draft, swarm, member, old);
  } else if (current) {
    planChanges(draft, swarm, member, current);
  } else {
    draft.noteLoss(member, "its managers do not list it any more");
    planStray(draft, swarm, member, local);
  }
}

function planJoin(draft: Draft, { via }: ListedSwarm, member: DesiredMember, old: readonly SwarmEntry[]): void {
  const { name, address, role } = member;
  if (address === undefined || via.address === undefined) return;
  // First its old voice goes: with it a majority is harder to have.
  const hasOldVoice = old.some((entry) => entry.role === "manager" || entry.manager);
  if (role === "manager" && (hasOldVoice || !draft.takeManagerChange())) {
    draft.waiting.push(`${name} joins when the other managers are settled`);
    return;
  }
  const title = `join ${name} as a ${role}`;
  draft.add({ kind: "join", node: name, title, role, address, via: via.name, managerAddress: via.address });
}

/** One that is in some swarm and not in the list of this one. */
function planStray(draft: Draft, { entries }: ListedSwarm, member: DesiredMember, local: LocalSwarm): void {
  const { name } = member;
  const managerAddresses = entries.flatMap(({ manager }) => manager?.address ?? []);
  const isOnItsWay = local.managerAddresses.some((address) => managerAddresses.includes(address));
  if (local.state === "pending" && isOnItsWay) {
    draft.waiting.push(`${name} waits to be let into the swarm${local.words ? `: ${local.words}` : ""}`);
  } else if (local.clusterId !== undefined) {
    draft.problems.push(elsewhere(name, local.managerAddresses));
  } else {
    draft.leaveForeign(member, local);
  }
}

/** A member: its labels, role and availability, and work that is tried on it. */
function planChanges(draft: Draft, swarm: ListedSwarm, member: DesiredMember, entry: SwarmEntry): void {
  const { name, address, wish, wasTried } = member;
  const via = swarm.via.name;
  const changedAddress = addressChanged(member, entry);
  if (changedAddress) draft.problems.push(changedAddress);
  if (entry.state === "down") draft.noteLoss(member, "its managers do not hear it");
  if (entry.state !== "ready") draft.waiting.push(`${name} is ${entry.state} to the managers`);
  const update = updateOf(draft, swarm, member, entry);
  if (update) {
    draft.add(update);
  } else if (entry.role !== member.role) {
    draft.waiting.push(`${name} stays a ${entry.role} until the other managers are settled`);
  } else if (entry.state !== "ready" || wish === "drained") {
    // It will be, or it is not to have work.
  } else if (wasTried || draft.observed.tried.has(name)) {
    draft.joined.push(name);
  } else if (entry.availability !== "active") {
    draft.problems.push(drainedByHand(name, entry.availability));
  } else if (address !== undefined) {
    const host = draft.observed.hosts.get(name);
    const bootId = host?.kind === "answered" ? host.bootId : "";
    draft.add({ kind: "try", node: name, title: `try work on ${name}`, via, id: entry.id, address, bootId });
  }
}

function updateOf(draft: Draft, swarm: ListedSwarm, member: DesiredMember, entry: SwarmEntry): SwarmStep | undefined {
  const { name } = member;
  const labels = labelChanges(member, entry);
  const role = roleChange(draft, swarm, member, entry);
  const availability = availabilityChange(member, entry);
  const what = [
    ...(Object.keys(labels).length > 0 ? [`label ${name}`] : []),
    ...(role === undefined ? [] : [`make ${name} a ${role}`]),
    ...(availability === undefined ? [] : [availability === "drain" ? `drain ${name}` : `give ${name} work again`]),
  ];
  if (what.length === 0) return undefined;
  return {
    kind: "update",
    node: name,
    title: what.join(", "),
    via: swarm.via.name,
    id: entry.id,
    labels,
    ...(role && { role }),
    ...(availability && { availability }),
    ...(availability === "drain" && { awaitsEnd: true }),
  };
}

function roleChange(draft: Draft, swarm: ListedSwarm, { role }: DesiredMember, entry: SwarmEntry) {
  if (role === entry.role) return undefined;
  if (role === "manager") return entry.state === "ready" && draft.takeManagerChange() ? role : undefined;
  return draft.takeVoice(entry, swarm) ? role : undefined;
}

/** Entries of a node that has another one now, or none. */
function forgetOld(draft: Draft, swarm: ListedSwarm, name: string, old: readonly SwarmEntry[]): void {
  for (const entry of old) {
    if (entry.state === "down") forget(draft, swarm, name, entry, `forget what ${name} was before`);
    else draft.waiting.push(`the managers have not missed yet what ${name} was before`);
  }
}

function forget(draft: Draft, { entries, via }: ListedSwarm, node: string, entry: SwarmEntry, title: string): void {
  const isManager = entry.role === "manager" || entry.manager !== undefined;
  if (isManager && !(staysQuorate(entries, entry) && draft.takeManagerChange())) {
    draft.waiting.push(`the other managers are to be settled, to ${title}`);
    return;
  }
  draft.add({ kind: "forget", node, title, via: via.name, id: entry.id, isManager });
}

/** A node of Bramble's that the manifest does not have any more. */
function planGone(draft: Draft, swarm: ListedSwarm, name: string, entry: SwarmEntry): void {
  const who = `${name}, which is no longer in the manifest`;
  const change = { kind: "update", node: name, via: swarm.via.name, id: entry.id, labels: {} } as const;
  if (entry.state === "down") {
    forget(draft, swarm, name, entry, `forget ${who}`);
  } else if (entry.role === "manager" && draft.takeVoice(entry, swarm)) {
    draft.add({ ...change, title: `make ${who}, a worker`, role: "worker" });
  } else if (entry.availability !== "drain") {
    draft.add({ ...change, title: `drain ${who}`, availability: "drain" });
  } else {
    draft.waiting.push(`${who}, still runs: switch it off`);
  }
}
