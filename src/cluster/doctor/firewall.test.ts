import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { type FilteredPacket, fateOf } from "./firewall.ts";
import { readIptablesRules } from "./iptables-rules.ts";
import { readNftRuleset } from "./nft-ruleset.ts";

const tftp: FilteredPacket = {
  protocol: "udp",
  source: "192.0.2.2" as Ipv4,
  destination: "192.0.2.1" as Ipv4,
  sourcePort: 49152,
  port: 69,
  interfaceName: "eth0",
  state: "new",
};
const nfs: FilteredPacket = { ...tftp, protocol: "tcp", port: 2049, sourcePort: 800 };
const acknowledgement: FilteredPacket = { ...tftp, port: 40000, state: "established" };

type Json = Record<string, unknown>;
const dport = (right: unknown, protocol = "udp") => match({ payload: { protocol, field: "dport" } }, right);
const match = (left: Json, right: unknown, op = "==") => ({ match: { op, left, right } });
const iif = (right: string) => match({ meta: { key: "iifname" } }, right);
const ct = (right: unknown) => match({ ct: { key: "state" } }, right, "in");
const ACCEPT = { accept: null };
const DROP = { drop: null };

/** A ruleset as nft prints it: an input chain with these rules, and others by name. */
function nft(policy: "accept" | "drop", rules: Json[][], others: Record<string, Json[][]> = {}, more: Json[] = []) {
  const where = { family: "inet", table: "filter" };
  const ruleOf = (chain: string) => (expr: Json[], index: number) => ({
    rule: { ...where, chain, handle: index + 2, expr },
  });
  return readNftRuleset(
    JSON.stringify({
      nftables: [
        { metainfo: { version: "1.0.6" } },
        { table: { family: "inet", name: "filter" } },
        { chain: { ...where, name: "input", type: "filter", hook: "input", prio: 0, policy } },
        ...Object.keys(others).map((name) => ({ chain: { ...where, name } })),
        ...more,
        ...rules.map(ruleOf("input")),
        ...Object.entries(others).flatMap(([name, list]) => list.map(ruleOf(name))),
      ],
    }),
  );
}

describe("nftables", () => {
  const set = { set: { family: "inet", table: "filter", name: "ports", elem: [67, 69] } };
  const dynamicSet = { set: { family: "inet", table: "filter", name: "bad", type: "ipv4_addr", flags: ["dynamic"] } };

  it.each<[string, ReturnType<typeof nft>, FilteredPacket, string]>([
    ["no rules and policy accept", nft("accept", []), tftp, "passes"],
    ["policy drop", nft("drop", []), tftp, "dropped"],
    ["a port that is let in", nft("drop", [[dport(69), ACCEPT]]), tftp, "passes"],
    ["another port that is let in", nft("drop", [[dport(70), ACCEPT]]), tftp, "dropped"],
    ["the port of another protocol", nft("drop", [[dport(69, "tcp"), ACCEPT]]), tftp, "dropped"],
    ["a port in a set", nft("drop", [[dport({ set: [67, 69] }), ACCEPT]]), tftp, "passes"],
    ["a port in a named set", nft("drop", [[dport("@ports"), ACCEPT]], {}, [set]), tftp, "passes"],
    ["a port in a range", nft("drop", [[dport({ range: [2000, 3000] }, "tcp"), ACCEPT]]), nfs, "passes"],
    ["a port beside a range", nft("drop", [[dport({ range: [2050, 3000] }, "tcp"), ACCEPT]]), nfs, "dropped"],
    ["reject", nft("accept", [[dport(69), { reject: { type: "icmpx" } }]]), tftp, "dropped"],
    ["the interface is let in", nft("drop", [[iif("eth0"), ACCEPT]]), tftp, "passes"],
    ["interfaces by their beginning", nft("drop", [[iif("et*"), ACCEPT]]), tftp, "passes"],
    ["another interface is let in", nft("drop", [[iif("lo"), ACCEPT]]), tftp, "dropped"],
    [
      "the Pis' network is let in",
      nft("drop", [
        [match({ payload: { protocol: "ip", field: "saddr" } }, { prefix: { addr: "192.0.2.0", len: 24 } }), ACCEPT],
      ]),
      tftp,
      "passes",
    ],
    [
      "all but one port is dropped",
      nft("accept", [[match({ payload: { protocol: "udp", field: "dport" } }, 69, "!="), DROP]]),
      tftp,
      "passes",
    ],
    [
      "established packets are let in, an answer",
      nft("drop", [[ct(["established", "related"]), ACCEPT]]),
      acknowledgement,
      "passes",
    ],
    [
      "established packets are let in, a question",
      nft("drop", [[ct(["established", "related"]), ACCEPT]]),
      tftp,
      "dropped",
    ],
    [
      "a chain that lets in",
      nft("drop", [[{ jump: { target: "svc" } }]], { svc: [[dport(69), ACCEPT]] }),
      tftp,
      "passes",
    ],
    [
      "a chain that is left, then a drop",
      nft("accept", [[{ jump: { target: "svc" } }], [DROP]], { svc: [[dport(70), ACCEPT]] }),
      tftp,
      "dropped",
    ],
    [
      "a chain gone to and left: the policy",
      nft("accept", [[{ goto: { target: "svc" } }], [DROP]], { svc: [] }),
      tftp,
      "passes",
    ],
    [
      "a chain that returns early",
      nft("accept", [[{ jump: { target: "svc" } }]], { svc: [[dport(69), { return: null }], [DROP]] }),
      tftp,
      "passes",
    ],
    [
      "a counter and a log decide nothing",
      nft("accept", [[dport(69), { counter: { packets: 0 } }, { log: null }, DROP]]),
      tftp,
      "dropped",
    ],
    [
      "a verdict map",
      nft(
        "drop",
        [
          [
            {
              vmap: {
                key: { ct: { key: "state" } },
                data: {
                  set: [
                    ["established", ACCEPT],
                    ["new", { jump: { target: "svc" } }],
                  ],
                },
              },
            },
          ],
        ],
        { svc: [[dport(69), ACCEPT]] },
      ),
      tftp,
      "passes",
    ],
    ["a limit may let in, or not", nft("drop", [[dport(69), { limit: { rate: 5 } }, ACCEPT]]), tftp, "unclear"],
    [
      "a match that is not known may drop, or not",
      nft("accept", [[{ xt: { type: "match", name: "recent" } }, DROP]]),
      tftp,
      "unclear",
    ],
    [
      "a doubt before a rule that drops all is none",
      nft("accept", [[{ limit: { rate: 5 } }, DROP], [DROP]]),
      tftp,
      "dropped",
    ],
    [
      "a set that programs fill, empty now",
      nft("accept", [[match({ payload: { protocol: "ip", field: "saddr" } }, "@bad"), DROP]], {}, [dynamicSet]),
      tftp,
      "passes",
    ],
    ["a redirection", nft("accept", [[dport(69), { redirect: { port: 1069 } }]]), tftp, "diverted"],
  ])("%s", (_, ruleset, packet, verdict) => {
    expect(fateOf([ruleset], packet).verdict).toBe(verdict);
  });

  it("says which rule or policy it is", () => {
    expect(fateOf([nft("drop", [])], tftp).place).toBe("the policy of chain input in table inet filter");
    expect(fateOf([nft("accept", [[dport(69), DROP]])], tftp).place).toMatch(
      /^rule 2 of chain input in table inet filter/,
    );
  });

  it("leaves tables of iptables out where these are listed in its own words", () => {
    const chain = { family: "ip", table: "filter", name: "INPUT", hook: "input", policy: "drop" };
    const text = JSON.stringify({ nftables: [{ chain }] });
    expect(fateOf([readNftRuleset(text)], tftp).verdict).toBe("dropped");
    expect(fateOf([readNftRuleset(text, { withIptables: false })], tftp).verdict).toBe("passes");
  });

  it("lets a packet pass only if every table does", () => {
    expect(fateOf([nft("accept", []), nft("drop", [])], tftp).verdict).toBe("dropped");
  });

  it("follows chains that call each other without end for a while only", () => {
    const loop = { a: [[{ jump: { target: "b" } }]], b: [[{ jump: { target: "a" } }]] };
    expect(fateOf([nft("accept", [[{ jump: { target: "a" } }]], loop)], tftp).verdict).toBe("unclear");
  });

  it("passes over chains of other hooks, families and devices", () => {
    const chain = (rest: Json) => ({ chain: { family: "ip", table: "t", policy: "drop", ...rest } });
    const ruleset = readNftRuleset(
      JSON.stringify({
        nftables: [
          chain({ name: "out", hook: "output" }),
          chain({ name: "way", hook: "forward" }),
          chain({ name: "six", hook: "input", family: "ip6" }),
          chain({ name: "card", hook: "ingress", family: "netdev", dev: "eth1" }),
        ],
      }),
    );
    expect(fateOf([ruleset], tftp).verdict).toBe("passes");
  });
});

describe("iptables", () => {
  const rules = (policy: string, ...lines: string[]) =>
    readIptablesRules(
      `*filter\n:INPUT ${policy} [0:0]\n:OUTPUT DROP [0:0]\n:ufw - [0:0]\n${lines.join("\n")}\nCOMMIT\n`,
    );

  it.each<[string, ReturnType<typeof rules>, FilteredPacket, string]>([
    ["policy DROP", rules("DROP"), tftp, "dropped"],
    ["a port that is let in", rules("DROP", "-A INPUT -p udp -m udp --dport 69 -j ACCEPT"), tftp, "passes"],
    ["several ports", rules("DROP", "-A INPUT -p udp -m multiport --dports 67,69 -j ACCEPT"), tftp, "passes"],
    ["the port of another protocol", rules("DROP", "-A INPUT -p tcp -m tcp --dport 69 -j ACCEPT"), tftp, "dropped"],
    ["a range", rules("DROP", "-A INPUT -p tcp -m tcp --dport 2000:3000 -j ACCEPT"), nfs, "passes"],
    [
      "a comment with spaces",
      rules("ACCEPT", '-A INPUT -p udp -m comment --comment "no -j ACCEPT here" -j DROP'),
      tftp,
      "dropped",
    ],
    ["all but an interface", rules("ACCEPT", "-A INPUT ! -i eth0 -j DROP"), tftp, "passes"],
    [
      "answers",
      rules("DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
      acknowledgement,
      "passes",
    ],
    ["a network", rules("DROP", "-A INPUT -s 192.0.2.0/24 -j ACCEPT"), tftp, "passes"],
    ["another network", rules("DROP", "-A INPUT -s 198.51.100.0/24 -j ACCEPT"), tftp, "dropped"],
    [
      "a chain that rejects",
      rules("ACCEPT", "-A INPUT -j ufw", "-A ufw -p udp -j REJECT --reject-with icmp-port-unreachable"),
      tftp,
      "dropped",
    ],
    ["a chain that is left", rules("ACCEPT", "-A INPUT -j ufw", "-A ufw -p tcp -j DROP"), tftp, "passes"],
    [
      "a match that is not known",
      rules("ACCEPT", "-A INPUT -m recent --rcheck --name BAD --rsource -j DROP"),
      tftp,
      "unclear",
    ],
    ["a log decides nothing", rules("ACCEPT", '-A INPUT -j LOG --log-prefix "[UFW] "'), tftp, "passes"],
  ])("%s", (_, ruleset, packet, verdict) => {
    expect(fateOf([ruleset], packet).verdict).toBe(verdict);
  });

  describe("as ufw lays its chains out", () => {
    const discover: FilteredPacket = {
      ...tftp,
      source: "0.0.0.0" as Ipv4,
      destination: "255.255.255.255" as Ipv4,
      sourcePort: 68,
      port: 67,
    };
    const ufw = (...allowed: string[]) =>
      readIptablesRules(
        [
          "*filter",
          ":INPUT DROP [0:0]",
          ...["before", "not-local", "user", "deny", "after", "to-policy"].map((name) => `:${name} - [0:0]`),
          "-A INPUT -j before",
          "-A INPUT -j after",
          "-A before -i lo -j ACCEPT",
          "-A before -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
          "-A before -m conntrack --ctstate INVALID -j deny",
          "-A before -p icmp -m icmp --icmp-type 8 -j ACCEPT",
          "-A before -j not-local",
          "-A before -j user",
          "-A not-local -m addrtype --dst-type LOCAL -j RETURN",
          "-A not-local -m addrtype --dst-type BROADCAST -j RETURN",
          "-A not-local -m limit --limit 3/min --limit-burst 10 -j deny",
          "-A not-local -j DROP",
          '-A deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[BLOCK] "',
          "-A after -p udp -m udp --dport 67 -j to-policy",
          "-A to-policy -j DROP",
          ...allowed.map((rule) => `-A user ${rule} -j ACCEPT`),
        ].join("\n"),
      );

    it.each([
      ["without an opening", ufw(), ["dropped", "dropped", "passes"]],
      ["with the interface open", ufw("-i eth0"), ["passes", "passes", "passes"]],
      ["with TFTP open", ufw("-p udp -m udp --dport 69"), ["dropped", "passes", "passes"]],
    ] as const)("%s", (_, ruleset, verdicts) => {
      const packets = [discover, tftp, acknowledgement];
      expect(packets.map((packet) => fateOf([ruleset], packet).verdict)).toEqual(verdicts);
    });
  });

  it("names the line", () => {
    const { place } = fateOf([rules("ACCEPT", "-A INPUT -p udp -m udp --dport 69 -j DROP")], tftp);
    expect(place).toBe('"-A INPUT -p udp -m udp --dport 69 -j DROP" in chain INPUT of iptables table filter');
  });
});
