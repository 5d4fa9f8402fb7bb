/**
 * What a packet filter does to a packet, as far as its rules tell: a small model of netfilter's chains that nft and
 * iptables listings are read into, and a walk through it. A condition that cannot be judged here (a limit, a set that
 * programs fill) is neither true nor false; then both ways are followed.
 */
import type { Ipv4 } from "../../bytes/addresses.ts";

/** A packet that arrives. */
export interface FilteredPacket {
  protocol: "udp" | "tcp";
  source: Ipv4;
  destination: Ipv4;
  sourcePort?: number;
  port: number;
  interfaceName: string;
  /** `established`: an answer to what we sent. */
  state: "new" | "established";
}

/** `undefined`: it cannot be told. */
export type Truth = boolean | undefined;

export type Action =
  | { kind: "accept" | "return" | "none" | "unknown" }
  | { kind: "drop" | "divert" }
  | { kind: "jump" | "goto"; chain: string };

/** Conditions and actions, in the order of the rule; an action is taken when all before it hold. */
export type Step = { condition(packet: FilteredPacket): Truth } | { choose(packet: FilteredPacket): Action[] } | Action;

export interface Rule {
  /** For people: where it stands. */
  place: string;
  steps: readonly Step[];
}

export interface Chain {
  name: string;
  /** Absent for chains that are only jumped to. */
  hook?: "ingress" | "prerouting" | "input";
  policy: "accept" | "drop";
  rules: readonly Rule[];
  /** For people: `chain input in table inet filter`. */
  place: string;
  /** An ingress chain hears these interfaces only. */
  devices?: readonly string[];
}

/** Chains know each other by name. */
export interface Ruleset {
  chains: readonly Chain[];
}

export interface Fate {
  verdict: "passes" | "dropped" | "diverted" | "unclear";
  /** The rule or policy that decides, or that may. */
  place?: string;
}

interface End {
  kind: "accept" | "drop" | "divert" | "unknown" | "return";
  place?: string;
}

/** A chain cannot jump deeper in the kernel (NFT_JUMP_STACK_SIZE). */
const JUMPS_MAX = 16;
const HOOKS = ["ingress", "prerouting", "input"] as const;

/** Every chain that hears the packet must let it pass. */
export function fateOf(rulesets: readonly Ruleset[], packet: FilteredPacket): Fate {
  let unclear: Fate | undefined;
  for (const { chains } of rulesets) {
    const byName = new Map(chains.map((chain) => [chain.name, chain]));
    for (const chain of chains) {
      if (!chain.hook || !HOOKS.includes(chain.hook)) continue;
      if (chain.devices && !chain.devices.includes(packet.interfaceName)) continue;
      const ends = endsOf(chain, packet, byName, 0).map((end) =>
        end.kind === "return" ? ({ kind: chain.policy, place: `the policy of ${chain.place}` } satisfies End) : end,
      );
      const stopping = ends.filter(({ kind }) => kind === "drop" || kind === "divert");
      const [first] = stopping;
      if (first && stopping.length === ends.length) {
        return { verdict: first.kind === "drop" ? "dropped" : "diverted", ...(first.place && { place: first.place }) };
      }
      const doubtful = first ?? ends.find(({ kind }) => kind === "unknown");
      if (doubtful) unclear ??= { verdict: "unclear", ...(doubtful.place && { place: doubtful.place }) };
    }
  }
  return unclear ?? { verdict: "passes" };
}

/** Of packets that are of use only together: the worst. */
export function fateOfAll(rulesets: readonly Ruleset[], packets: readonly FilteredPacket[]): Fate {
  const fates = packets.map((packet) => fateOf(rulesets, packet));
  const stopped = fates.find(({ verdict }) => verdict === "dropped" || verdict === "diverted");
  return stopped ?? fates.find(({ verdict }) => verdict === "unclear") ?? { verdict: "passes" };
}

/** Every way the walk can end; one of each kind. `return`: the chain was left at its end. */
function endsOf(chain: Chain, packet: FilteredPacket, chains: ReadonlyMap<string, Chain>, depth: number): End[] {
  const ends = new Map<End["kind"], End>();
  const add = (end: End) => void (ends.has(end.kind) || ends.set(end.kind, end));
  for (const rule of chain.rules) {
    let isCertain = true;
    let goesOn = true;
    for (const step of rule.steps) {
      if ("condition" in step) {
        const truth = step.condition(packet);
        if (truth === false) break;
        if (truth === undefined) isCertain = false;
        continue;
      }
      const actions = "choose" in step ? step.choose(packet) : [step];
      const results = actions.flatMap((action) => endsOfAction(action, rule, packet, chains, depth));
      for (const end of results) if (end !== "on") add(end);
      if (isCertain && results.length > 0 && !results.includes("on")) goesOn = false;
      if (!goesOn) break;
    }
    if (!goesOn) return [...ends.values()];
  }
  add({ kind: "return" });
  return [...ends.values()];
}

function endsOfAction(
  action: Action,
  { place }: Rule,
  packet: FilteredPacket,
  chains: ReadonlyMap<string, Chain>,
  depth: number,
): (End | "on")[] {
  switch (action.kind) {
    case "none":
      return ["on"];
    case "accept":
    case "drop":
    case "divert":
      return [{ kind: action.kind, place }];
    case "return":
      return [{ kind: "return" }];
    case "unknown":
      return [{ kind: "unknown", place }, "on"];
    case "jump":
    case "goto": {
      const target = chains.get(action.chain);
      if (!target || depth >= JUMPS_MAX) return [{ kind: "unknown", place }, "on"];
      const ends = endsOf(target, packet, chains, depth + 1);
      return ends.map((end) => (end.kind === "return" && action.kind === "jump" ? "on" : end));
    }
  }
}
