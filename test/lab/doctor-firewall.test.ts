/**
 * What `bramble doctor` reads from the rules of a firewall, beside what the kernel does with packets: random rules for
 * nftables and for the older iptables, real datagrams and connections from a neighbour. Needs root.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface, type Interface } from "node:readline";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import { type FilteredPacket, fateOfAll, type Ruleset } from "../../src/cluster/doctor/firewall.ts";
import { readIptablesRules } from "../../src/cluster/doctor/iptables-rules.ts";
import { readNftRuleset } from "../../src/cluster/doctor/nft-ruleset.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const skipped = requireRoot() || requireTools(["ip", "nft", "iptables-legacy"]);

const ROUNDS = process.env.SOAK === undefined ? 40 : 1000;
const OWN = "10.78.0.1";
const NEIGHBOUR = "10.78.0.2";
const UDP_PORTS = [67, 69, 111];
const TCP_PORTS = [111, 2049, 20048];
const SOURCE_PORT = 65000;
/** On a veth pair a packet is there in far less than a millisecond; a refusal too. */
const WAIT_MS = 60;
const ARRIVAL_MS = 15;
const ATTEMPTS_MAX = 5;

/** Sends everything once for each line it reads, then tells which connections were answered. */
const NEIGHBOURS_PROGRAM = `
const dgram = require("dgram"), net = require("net");
const socket = dgram.createSocket("udp4");
socket.bind(${SOURCE_PORT}, "${NEIGHBOUR}", () => console.log("ready"));
socket.on("error", () => {});
// Each connection from a port of its own: the kernel takes a question from a port that it remembers for an answer.
let localPort = 1024;
const connect = (port) => new Promise((done) => {
  const client = net.connect({ port, host: "${OWN}", localPort: localPort++ });
  const end = (result) => { clearTimeout(timer); client.destroy(); done(result); };
  const timer = setTimeout(() => end(false), ${WAIT_MS});
  client.on("data", () => end(true));
  client.on("error", () => end(false));
});
require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  for (const port of ${JSON.stringify(UDP_PORTS)}) socket.send(line, port, "${OWN}");
  const made = await Promise.all(${JSON.stringify(TCP_PORTS)}.map(connect));
  console.log(JSON.stringify(made));
});
`;

/** nft refuses two protocols in one rule. */
const NFT_TRANSPORT = [
  "udp dport 69",
  "udp dport != 67",
  "udp dport { 67, 69 }",
  "udp sport 64000-65535",
  "tcp dport 2000-3000",
  "tcp dport @ports",
  "th dport > 100",
  "meta l4proto tcp",
  "meta l4proto { tcp, udp }",
  "ip protocol udp",
];
const NFT_OTHERS = [
  'iifname "eth0"',
  'iifname "e*"',
  'iifname != "lo"',
  `ip saddr ${NEIGHBOUR}`,
  "ip saddr 10.78.0.0/24",
  "ip saddr != 10.0.0.0/8",
  `ip daddr ${OWN}`,
  "ct state new",
  "ct state established,related",
  "counter",
];
const nftRule = (verdicts: readonly string[]) =>
  fc
    .tuple(
      fc.constantFrom("", "", ...NFT_TRANSPORT),
      fc.constantFrom("", "", ...NFT_OTHERS),
      fc.constantFrom(...verdicts),
    )
    .map((words) => words.join(" "));
const nftRules = fc.record({
  policy: fc.constantFrom("accept", "drop"),
  input: fc.array(
    nftRule([
      ...["accept", "accept", "drop", "reject", "jump svc", "goto svc", "return", "continue"],
      "ct state vmap { established : accept, new : jump svc }",
      "meta l4proto vmap { tcp : accept, udp : jump svc }",
    ]),
    { maxLength: 5 },
  ),
  svc: fc.array(nftRule(["accept", "drop", "return", "counter"]), { maxLength: 3 }),
  early: fc.option(nftRule(["drop"]), { freq: 3 }),
});

const IPTABLES_CONDITIONS = [
  "-p udp -m udp --dport 69",
  "-p udp -m udp ! --dport 67",
  "-p udp -m multiport --dports 67,69",
  "-p tcp -m tcp --dport 2000:3000",
  "-p tcp",
  "! -p tcp",
  "-i eth0",
  "-i e+",
  "! -i eth0",
  "-s 10.78.0.0/24",
  `! -s ${NEIGHBOUR}/32`,
  `-d ${OWN}/32`,
  "-m conntrack --ctstate NEW",
  "-m conntrack --ctstate RELATED,ESTABLISHED",
  "-m addrtype --dst-type LOCAL",
  "-m addrtype --dst-type BROADCAST",
  '-m comment --comment "-j DROP, not"',
];
const iptablesRule = (targets: readonly string[]) =>
  fc
    .tuple(fc.constantFrom("", ...IPTABLES_CONDITIONS), fc.constantFrom(...targets))
    .map(([condition, target]) => `${condition} ${target}`);
const iptablesRules = fc.record({
  policy: fc.constantFrom("ACCEPT", "DROP"),
  input: fc.array(iptablesRule(["-j ACCEPT", "-j ACCEPT", "-j DROP", "-j REJECT", "-j svc", "-g svc"]), {
    maxLength: 5,
  }),
  svc: fc.array(iptablesRule(["-j ACCEPT", "-j DROP", "-j RETURN"]), { maxLength: 3 }),
});

describe.skipIf(skipped)("a firewall's rules", () => {
  const neighbour = `doctor-neighbour-${process.pid}`;
  const closing: (() => void)[] = [];
  const arrived = new Set<string>();
  let child: ChildProcess;
  let lines: Interface;
  let round = 0;

  beforeAll(async () => {
    enterNetworkNamespace();
    const ip = (words: string) => execFileSync("ip", words.split(" "));
    ip(`netns add ${neighbour}`);
    ip(`link add eth0 type veth peer name eth0 netns ${neighbour}`);
    ip(`addr add ${OWN}/24 dev eth0`);
    ip("link set eth0 up");
    ip(`-n ${neighbour} addr add ${NEIGHBOUR}/24 dev eth0`);
    ip(`-n ${neighbour} link set eth0 up`);
    for (const port of UDP_PORTS) {
      const socket = dgram.createSocket("udp4");
      socket.on("message", (text) => arrived.add(`udp ${port} ${text}`));
      socket.bind(port, OWN);
      await once(socket, "listening");
      closing.push(() => socket.close());
    }
    for (const port of TCP_PORTS) {
      const server = createServer((socket) => socket.on("error", () => {}).end("here"));
      server.listen(port, OWN);
      await once(server, "listening");
      closing.push(() => server.close());
    }
    const words = ["netns", "exec", neighbour, process.execPath, "-e", NEIGHBOURS_PROGRAM];
    child = spawn("ip", words, { stdio: ["pipe", "pipe", "inherit"] });
    lines = createInterface({ input: child.stdout! });
    await once(lines, "line");
  });

  afterAll(async () => {
    for (const close of closing) close();
    if (child) {
      child.kill();
      await once(child, "exit");
    }
    execFileSync("ip", ["netns", "delete", neighbour]);
  });

  /** Which packets the kernel lets in, as `udp 69`. */
  async function letIn(): Promise<Set<string>> {
    round++;
    arrived.clear();
    const answer = once(lines, "line");
    child.stdin!.write(`${round}\n`);
    const made = JSON.parse((await answer)[0]) as boolean[];
    await new Promise((done) => setTimeout(done, ARRIVAL_MS));
    const passed = UDP_PORTS.filter((port) => arrived.has(`udp ${port} ${round}`)).map((port) => `udp ${port}`);
    return new Set([...passed, ...TCP_PORTS.filter((_, index) => made[index]).map((port) => `tcp ${port}`)]);
  }

  /** A connection needs its first packet, and all others. */
  function packets(): { name: string; packets: FilteredPacket[] }[] {
    const common = { source: parseIpv4(NEIGHBOUR), destination: parseIpv4(OWN), interfaceName: "eth0" };
    const udp = (port: number): FilteredPacket => ({
      ...common,
      protocol: "udp",
      port,
      sourcePort: SOURCE_PORT,
      state: "new",
    });
    const tcp = (port: number, state: FilteredPacket["state"]): FilteredPacket => ({
      ...common,
      protocol: "tcp",
      port,
      state,
    });
    return [
      ...UDP_PORTS.map((port) => ({ name: `udp ${port}`, packets: [udp(port)] })),
      ...TCP_PORTS.map((port) => ({ name: `tcp ${port}`, packets: [tcp(port, "new"), tcp(port, "established")] })),
    ];
  }

  async function compare(ruleset: Ruleset): Promise<{ unclear: number }> {
    const fates = packets().map(({ name, packets: each }) => ({ name, ...fateOfAll([ruleset], each) }));
    const passing = fates.filter(({ verdict }) => verdict === "passes").map(({ name }) => name);
    const really = new Set<string>();
    // On a busy machine a packet may come late; one that is kept out comes never.
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      for (const name of await letIn()) really.add(name);
      if (passing.every((name) => really.has(name))) break;
    }
    for (const { name, verdict, place } of fates) {
      if (verdict === "unclear") continue;
      expect(`${name} ${verdict}`, place).toBe(`${name} ${really.has(name) ? "passes" : "dropped"}`);
    }
    return { unclear: fates.filter(({ verdict }) => verdict === "unclear").length };
  }

  const output = (program: string, words: string[], input?: string) =>
    execFileSync(program, words, { encoding: "utf8", ...(input !== undefined && { input }) });

  afterEach(() => {
    output("nft", ["flush", "ruleset"]);
    output("iptables-legacy-restore", [], "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
  });

  it("for nftables mean what the kernel does", async () => {
    let unclear = 0;
    await fc.assert(
      fc.asyncProperty(nftRules, async ({ policy, input, svc, early }) => {
        const chain = (head: string, rules: readonly string[]) => `${head}\n${rules.join("\n")}\n}`;
        const text = [
          "flush ruleset",
          "table inet filter {",
          "set ports { type inet_service; elements = { 111, 20048 }; }",
          chain("chain svc {", svc),
          chain(`chain input { type filter hook input priority 0; policy ${policy};`, input),
          ...(early ? [chain("chain early { type filter hook prerouting priority -150;", [early])] : []),
          "}",
        ].join("\n");
        output("nft", ["-f", "-"], text);
        unclear += (await compare(readNftRuleset(output("nft", ["-j", "list", "ruleset"])))).unclear;
      }),
      { numRuns: ROUNDS },
    );
    // All but the source port of connections can be judged.
    expect(unclear).toBeLessThan(ROUNDS);
  }, 600_000);

  it("for iptables mean what the kernel does", async () => {
    await fc.assert(
      fc.asyncProperty(iptablesRules, async ({ policy, input, svc }) => {
        const text = [
          "*filter",
          `:INPUT ${policy} [0:0]`,
          ":svc - [0:0]",
          ...input.map((each) => `-A INPUT ${each}`),
          ...svc.map((each) => `-A svc ${each}`),
          "COMMIT\n",
        ].join("\n");
        output("iptables-legacy-restore", [], text);
        const { unclear } = await compare(readIptablesRules(output("iptables-legacy-save", [])));
        expect(unclear).toBe(0);
      }),
      { numRuns: ROUNDS },
    );
  }, 600_000);
});
