/** What a plan for a Swarm is put together in, with the rules that every step keeps to. */
import type { ClusterProblem } from "../../cluster/cluster-problem.ts";
import type { DesiredCluster, DesiredMember, NextSteps } from "../orchestrator.ts";
import { copiesOf, type LocalSwarm, localSwarm, type ObservedSwarm, ownerOf, type SwarmEntry } from "./observed.ts";
import { copied, elsewhere, hostProblem } from "./problems.ts";
import type { SwarmStep } from "./steps.ts";

/** A swarm as its managers list it. */
export interface ListedSwarm {
  entries: readonly SwarmEntry[];
  /** The manager that is asked. */
  via: DesiredMember;
}

export class Draft {
  readonly members: readonly DesiredMember[];
  readonly observed: ObservedSwarm;
  readonly problems: ClusterProblem[] = [];
  readonly waiting: string[] = [];
  readonly joined: string[] = [];
  /** Members with another one's identity, and whose it is. */
  readonly copies: ReadonlyMap<string, string>;
  readonly #lost = new Map<string, string>();
  readonly #steps = new Map<string, SwarmStep>();
  #managerChanges = false;

  constructor({ members }: DesiredCluster, observed: ObservedSwarm) {
    this.members = members;
    this.observed = observed;
    this.copies = copiesOf(members, observed);
  }

  /** About each node one step a round: the first. */
  add(step: SwarmStep): void {
    if (!this.#steps.has(step.node)) this.#steps.set(step.node, step);
  }

  noteLoss({ name, wasTried }: DesiredMember, reason: string): void {
    if (wasTried && !this.#lost.has(name)) this.#lost.set(name, reason);
  }

  nextSteps(): NextSteps<SwarmStep> {
    const { problems, waiting, joined } = this;
    const lost = Array.from(this.#lost, ([node, reason]) => ({ node, reason }));
    return { steps: [...this.#steps.values()], problems, waiting, joined, lost };
  }

  /** Those that should manage the swarm. */
  get managers(): readonly DesiredMember[] {
    return this.members.filter(({ role, wish }) => role === "manager" && wish !== "out");
  }

  /** The swarm of a node that can be a member; nothing when there is a problem, which is told. */
  usableSwarm({ name, isReady }: DesiredMember): LocalSwarm | undefined {
    const host = isReady ? this.observed.hosts.get(name) : undefined;
    if (host === undefined) return undefined;
    const original = this.copies.get(name);
    const problem = original ? copied(name, original) : hostProblem(name, host, this.observed.unixMs);
    if (problem) this.problems.push(problem);
    return problem ? undefined : localSwarm(this.observed, name);
  }

  /** Of managers one changes at a time: true for the one that asks first. */
  takeManagerChange(): boolean {
    const isFree = !this.#managerChanges;
    this.#managerChanges = true;
    return isFree;
  }

  get isManagerChanging(): boolean {
    return this.#managerChanges;
  }

  /**
   * Whether this entry may stop being a manager now: the others are a majority without it, and those that should manage, and can, do.
   * True takes this round's change.
   */
  takeVoice(entry: SwarmEntry, { entries }: ListedSwarm): boolean {
    if (this.#managerChanges || !staysQuorate(entries, entry)) return false;
    const able = this.managers.filter(({ name, isReady }) => isReady && localSwarm(this.observed, name));
    const voices = this.managers.filter(({ name }) =>
      entries.some((each) => each !== entry && ownerOf(each) === name && each.manager?.isReachable),
    );
    return voices.length > 0 && voices.length >= able.length && this.takeManagerChange();
  }

  leave({ name }: DesiredMember, { isManager }: LocalSwarm): void {
    this.add({ kind: "leave", node: name, title: `have ${name} leave the swarm that it is in`, isManager });
  }

  /** A swarm that is not there any more, or that does not know the node; not one of somebody else's. */
  leaveForeign(member: DesiredMember, local: LocalSwarm): void {
    const ours: readonly string[] = this.members.flatMap(({ address }) => address ?? []);
    const isOurs = member.hasJoined || local.managerAddresses.some((address) => ours.includes(address));
    if (isOurs) this.leave(member, local);
    else this.problems.push(elsewhere(member.name, local.managerAddresses));
  }
}

/** Whether more than half of the managers hear one another without this one. */
export function staysQuorate(entries: readonly SwarmEntry[], without: SwarmEntry): boolean {
  const voices = entries.filter((entry) => entry !== without && entry.manager !== undefined);
  const reachable = voices.filter(({ manager }) => manager?.isReachable);
  return voices.length > 0 && reachable.length > voices.length / 2;
}
