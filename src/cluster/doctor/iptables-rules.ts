/**
 * Reads what `iptables-save` prints (iptables-save(8), iptables-extensions(8)) into chains: of the older tables of the
 * kernel, and of tables of nftables that iptables made. Matches not named here cannot be judged.
 */
import { IPV4_BROADCAST, type Ipv4, ipv4ToNumber } from "../../bytes/addresses.ts";
import type { Action, Chain, FilteredPacket, Rule, Ruleset, Step, Truth } from "./firewall.ts";

const HOOKS: Readonly<Record<string, Chain["hook"]>> = { PREROUTING: "prerouting", INPUT: "input" };

export function readIptablesRules(text: string): Ruleset {
  const chains = new Map<string, Chain & { rules: Rule[] }>();
  let table = "";
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line.startsWith("*")) table = line.slice(1);
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name) {
      const hook = HOOKS[name];
      chains.set(`${table} ${name}`, {
        name: `${table} ${name}`,
        ...(hook && { hook }),
        policy: policy === "DROP" ? "drop" : "accept",
        rules: [],
        place: `chain ${name} of iptables table ${table}`,
      });
    }
    const [, target] = /^-A (\S+)/.exec(line) ?? [];
    const chain = target && chains.get(`${table} ${target}`);
    if (chain) chain.rules.push({ place: `"${line}" in ${chain.place}`, steps: readSteps(line, table) });
  }
  return { chains: [...chains.values()] };
}

type Condition = (packet: FilteredPacket) => Truth;

/** What an option asks of a packet; each takes one word. */
const CONDITIONS: Readonly<Record<string, (word: string) => Condition>> = {
  "-p": (word) => (packet) => word === "all" || word === packet.protocol,
  "-i":
    (word) =>
    ({ interfaceName }) =>
      word.endsWith("+") ? interfaceName.startsWith(word.slice(0, -1)) : interfaceName === word,
  "-s":
    (word) =>
    ({ source }) =>
      isWithin(source, word),
  "-d":
    (word) =>
    ({ destination }) =>
      isWithin(destination, word),
  "--dport":
    (word) =>
    ({ port }) =>
      isPortOf(port, word),
  "--dports":
    (word) =>
    ({ port }) =>
      word.split(",").some((each) => isPortOf(port, each)),
  "--sport":
    (word) =>
    ({ sourcePort }) =>
      sourcePort === undefined ? undefined : isPortOf(sourcePort, word),
  "--dst-type":
    (word) =>
    ({ destination }) =>
      word === (destination === IPV4_BROADCAST ? "BROADCAST" : "LOCAL"),
  "--ctstate":
    (word) =>
    ({ state }) =>
      word.split(",").includes(state.toUpperCase()),
  "--state":
    (word) =>
    ({ state }) =>
      word.split(",").includes(state.toUpperCase()),
};
/** Options that say nothing of the packet, and how many words follow. */
const IDLE: Readonly<Record<string, number>> = {
  "-A": 1,
  "-m": 1,
  "--comment": 1,
  "--reject-with": 1,
  "--to-destination": 1,
  "--to-ports": 1,
  "--to-source": 1,
  "--log-prefix": 1,
  "--log-level": 1,
  "--set-mark": 1,
  "--set-xmark": 1,
};
const TARGETS: Readonly<Record<string, Action["kind"]>> = {
  ACCEPT: "accept",
  DROP: "drop",
  REJECT: "drop",
  RETURN: "return",
  DNAT: "divert",
  REDIRECT: "divert",
  TPROXY: "divert",
  MASQUERADE: "accept",
  SNAT: "accept",
  NFQUEUE: "unknown",
};
/** Targets that a packet goes on after. */
const PASSING = new Set(["LOG", "NFLOG", "MARK", "CONNMARK", "CT", "TCPMSS", "CHECKSUM", "TOS", "DSCP"]);

function readSteps(line: string, table: string): Step[] {
  const words = Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g), ([, quoted, plain]) => quoted ?? plain ?? "");
  const steps: Step[] = [];
  let action: Step = { kind: "none" };
  for (let at = 0; at < words.length; at++) {
    const isNegated = words[at] === "!";
    if (isNegated) at++;
    const option = words[at] ?? "";
    const condition = CONDITIONS[option];
    if (condition) {
      const asked = condition(words[++at] ?? "");
      steps.push({ condition: isNegated ? negated(asked) : asked });
    } else if (option === "-j" || option === "-g") {
      action = readTarget(words[++at] ?? "", option, table);
    } else if (option in IDLE) {
      at += IDLE[option] ?? 0;
    } else if (option.startsWith("-")) {
      steps.push({ condition: () => undefined });
    }
  }
  return [...steps, action];
}

function readTarget(target: string, option: string, table: string): Step {
  const kind = TARGETS[target];
  if (kind !== undefined) return { kind } as Action;
  if (PASSING.has(target)) return { kind: "none" };
  return { kind: option === "-g" ? "goto" : "jump", chain: `${table} ${target}` };
}

function negated(condition: Condition): Condition {
  return (packet) => {
    const truth = condition(packet);
    return truth === undefined ? undefined : !truth;
  };
}

function isWithin(address: Ipv4, text: string): Truth {
  const [network = "", length = "32"] = text.split("/");
  if (!/^\d+(\.\d+){3}$/.test(network) || !/^\d+$/.test(length)) return undefined;
  const size = 2 ** (32 - Number(length));
  return Math.floor(ipv4ToNumber(address) / size) === Math.floor(ipv4ToNumber(network as Ipv4) / size);
}

function isPortOf(port: number, text: string): boolean {
  const [from = 0, to = from] = text.split(":").map(Number);
  return from <= port && port <= to;
}
