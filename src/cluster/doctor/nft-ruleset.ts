/**
 * Reads what `nft -j list ruleset` prints (libnftables-json(5)) into chains. Of families other than ip, inet and netdev,
 * and of hooks that arriving packets do not meet, nothing is read. Conditions not named here cannot be judged.
 */
import { type Ipv4, ipv4ToNumber } from "../../bytes/addresses.ts";
import type { Action, Chain, FilteredPacket, Rule, Ruleset, Step, Truth } from "./firewall.ts";

type Json = { readonly [key: string]: unknown };
type Value = string | number;

const FAMILIES = ["ip", "inet", "netdev"];
const HOOKS: Readonly<Record<string, Chain["hook"]>> = {
  ingress: "ingress",
  prerouting: "prerouting",
  input: "input",
};

/** Tables that iptables makes. Of its matches `nft` often tells the name only. */
const IPTABLES_TABLES = ["filter", "nat", "mangle", "raw", "security"];

/** Throws `SyntaxError` for what is no JSON. `withIptables`: leave out what `iptables-save` has in its own words. */
export function readNftRuleset(text: string, { withIptables = true }: { withIptables?: boolean } = {}): Ruleset {
  const { nftables } = JSON.parse(text) as { nftables?: Json[] };
  const items = (nftables ?? []).filter(isObject);
  const of = (kind: string) =>
    items.flatMap((item) => {
      const found = item[kind];
      return isObject(found) && FAMILIES.includes(String(found.family)) ? [found] : [];
    });
  const sets = new Map([...of("set"), ...of("map")].map((set) => [`${placeOf(set)} @${set.name}`, set.elem]));
  const isOfIptables = ({ family, table }: Json) => family === "ip" && IPTABLES_TABLES.includes(String(table));
  const rules = of("rule");
  return {
    chains: of("chain")
      .filter((chain) => withIptables || !isOfIptables(chain))
      .map((chain): Chain => {
        const name = nameOf(chain, String(chain.name));
        const hook = HOOKS[String(chain.hook)];
        const devices = [chain.dev].flat().filter((each) => typeof each === "string");
        return {
          name,
          ...(hook && { hook }),
          policy: chain.policy === "drop" ? "drop" : "accept",
          rules: rules
            .filter((rule) => nameOf(rule, String(rule.chain)) === name)
            .map((rule) => readRule(rule, (named) => sets.get(`${placeOf(rule)} ${named}`))),
          place: `chain ${chain.name} in table ${placeOf(chain)}`,
          ...(devices.length > 0 && { devices }),
        };
      }),
  };
}

type FindSet = (name: string) => unknown;

function placeOf(item: Json): string {
  return `${item.family} ${item.table}`;
}

function nameOf(item: Json, chain: string): string {
  return `${placeOf(item)} ${chain}`;
}

function readRule(rule: Json, findSet: FindSet): Rule {
  const expressions = Array.isArray(rule.expr) ? rule.expr.filter(isObject) : [];
  return {
    place: `rule ${rule.handle} of chain ${rule.chain} in table ${placeOf(rule)} (nft -a list table ${placeOf(rule)})`,
    steps: expressions.map((expression) => readStep(expression, rule, findSet)),
  };
}

/** Statements that decide nothing. */
const PASSING = new Set(["counter", "log", "comment", "mangle", "notrack", "ct helper", "ct count", "meter", "set"]);

function readStep(expression: Json, rule: Json, findSet: FindSet): Step {
  const [kind = ""] = Object.keys(expression);
  const body = expression[kind];
  if (kind === "match" && isObject(body)) return { condition: (packet) => matches(body, packet, findSet) };
  if (kind === "vmap" && isObject(body)) return { choose: (packet) => chosen(body, packet, rule, findSet) };
  if (PASSING.has(kind)) return { kind: "none" };
  return readVerdict(expression, rule) ?? { condition: () => undefined };
}

function readVerdict(expression: Json, rule: Json): Action | undefined {
  const [kind = ""] = Object.keys(expression);
  switch (kind) {
    case "accept":
    case "return":
      return { kind };
    case "drop":
    case "reject":
      return { kind: "drop" };
    case "dnat":
    case "redirect":
    case "tproxy":
      return { kind: "divert" };
    case "masquerade":
    case "snat":
      return { kind: "accept" };
    case "continue":
      return { kind: "none" };
    case "queue":
      return { kind: "unknown" };
    case "jump":
    case "goto": {
      const body = expression[kind];
      return { kind, chain: nameOf(rule, isObject(body) ? String(body.target) : "") };
    }
    default:
      return undefined;
  }
}

/** A verdict map: the verdicts that the packet may get. */
function chosen(body: Json, packet: FilteredPacket, rule: Json, findSet: FindSet): Action[] {
  const value = fieldOf(body.key, packet);
  const entries = elementsOf(body.data, findSet)?.filter(Array.isArray);
  if (!entries) return [{ kind: "unknown" }];
  const verdict = (entry: unknown[]) => (isObject(entry[1]) ? readVerdict(entry[1], rule) : undefined);
  if (value === OTHER_PROTOCOL) return [{ kind: "none" }];
  const found = entries.find(([key]) => value !== undefined && holds(value, key, findSet) === true);
  if (found) return [verdict(found) ?? { kind: "unknown" }];
  const isClear = value !== undefined && entries.every(([key]) => holds(value, key, findSet) === false);
  return isClear
    ? [{ kind: "none" }]
    : [...entries.map((entry) => verdict(entry) ?? ({ kind: "unknown" } as const)), { kind: "none" }];
}

function matches(body: Json, packet: FilteredPacket, findSet: FindSet): Truth {
  const value = fieldOf(body.left, packet);
  if (value === OTHER_PROTOCOL) return false;
  if (value === undefined) return undefined;
  const truth = holds(value, body.right, findSet);
  switch (body.op) {
    case "==":
    case "in":
      return truth;
    case "!=":
      return truth === undefined ? undefined : !truth;
    default:
      return compare(value, String(body.op), body.right);
  }
}

function compare(value: Value, operator: string, right: unknown): Truth {
  if (typeof value !== "number" || typeof right !== "number") return undefined;
  switch (operator) {
    case "<":
      return value < right;
    case ">":
      return value > right;
    case "<=":
      return value <= right;
    case ">=":
      return value >= right;
    default:
      return undefined;
  }
}

/** A field that packets of this protocol do not have: the rule does not concern them. */
const OTHER_PROTOCOL = Symbol("other protocol");

function fieldOf(expression: unknown, packet: FilteredPacket): Value | typeof OTHER_PROTOCOL | undefined {
  if (!isObject(expression)) return undefined;
  const { ct, meta, payload } = expression;
  if (isObject(ct)) return ct.key === "state" ? packet.state : undefined;
  if (isObject(meta)) {
    const known: Record<string, Value> = {
      iif: packet.interfaceName,
      iifname: packet.interfaceName,
      l4proto: packet.protocol,
      nfproto: "ipv4",
      protocol: "ip",
    };
    return known[String(meta.key)];
  }
  if (!isObject(payload)) return undefined;
  const { protocol, field } = payload;
  if (protocol === "ip") {
    const known: Record<string, Value> = {
      saddr: packet.source,
      daddr: packet.destination,
      protocol: packet.protocol,
    };
    return known[String(field)];
  }
  if (protocol !== "th" && protocol !== packet.protocol) return OTHER_PROTOCOL;
  if (field === "dport") return packet.port;
  return field === "sport" ? packet.sourcePort : undefined;
}

/** Whether a value is, or is in, the right side of a match. */
function holds(value: Value, right: unknown, findSet: FindSet): Truth {
  if (typeof right === "string" && right.startsWith("@")) {
    const elements = elementsOf(right, findSet);
    return elements ? anyHolds(value, elements, findSet) : undefined;
  }
  if (typeof right === "string" && right === "*") return true;
  if (typeof right === "string" && right.endsWith("*")) return String(value).startsWith(right.slice(0, -1));
  if (typeof right === "string" || typeof right === "number") return String(value) === String(right);
  if (Array.isArray(right)) return anyHolds(value, right, findSet);
  if (!isObject(right)) return undefined;
  if ("set" in right) return anyHolds(value, [right.set].flat(), findSet);
  if (isObject(right.elem)) return holds(value, right.elem.val, findSet);
  if (Array.isArray(right.range)) return inRange(value, right.range);
  if (isObject(right.prefix)) return inPrefix(value, right.prefix);
  return undefined;
}

function anyHolds(value: Value, elements: readonly unknown[], findSet: FindSet): Truth {
  const truths = elements.map((element) => holds(value, element, findSet));
  if (truths.includes(true)) return true;
  return truths.includes(undefined) ? undefined : false;
}

function inRange(value: Value, [from, to]: unknown[]): Truth {
  const at = orderOf(value);
  const [first, last] = [orderOf(from), orderOf(to)];
  return at === undefined || first === undefined || last === undefined ? undefined : first <= at && at <= last;
}

function inPrefix(value: Value, prefix: Json): Truth {
  const [at, network] = [orderOf(value), orderOf(prefix.addr)];
  if (at === undefined || network === undefined || typeof prefix.len !== "number") return undefined;
  const size = 2 ** (32 - prefix.len);
  return Math.floor(at / size) === Math.floor(network / size);
}

function orderOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^\d+(\.\d+){3}$/.test(value) ? ipv4ToNumber(value as Ipv4) : undefined;
}

function elementsOf(data: unknown, findSet: FindSet): unknown[] | undefined {
  const found = typeof data === "string" ? findSet(data) : isObject(data) ? data.set : undefined;
  // A set that is listed without elements is empty now.
  if (found === undefined) return typeof data === "string" ? [] : undefined;
  return [found].flat();
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
