/** The lease server on several networks, and what it tells its clients there. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { leaseResponders } from "./lease.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { decodePacket, encodePacket, makePacket } from "./packet.ts";
import { type DhcpClient, type DhcpServerSettings, type DhcpSubnet, type Lease, readClientFacts } from "./policy.ts";

const mac = (last: number) => parseMac(`02:00:00:00:00:${last.toString(16).padStart(2, "0")}`);
const ip = parseIpv4;
const MASK = ip("255.255.255.0");

const subnet = (third: number): DhcpSubnet => ({
  serverAddress: ip(`10.0.${third}.1`),
  subnetMask: MASK,
  routers: [],
  dnsServers: [],
  leaseTimeS: 3600,
  range: { first: ip(`10.0.${third}.100`), last: ip(`10.0.${third}.103`) },
});
/** Behind a relay agent: we are at 10.0.1.1. */
const relayed: DhcpSubnet = {
  ...subnet(3),
  serverAddress: ip("10.0.1.1"),
  network: ip("10.0.3.0"),
  routers: [ip("10.0.3.1")],
  leaseTimeS: 600,
};
const ALL: DhcpServerSettings[] = [
  { mode: "server", ...subnet(1), relayed: [relayed] },
  { mode: "server", ...subnet(2) },
];

interface Ask {
  on?: number;
  client?: DhcpClient;
  giaddr?: string;
  ciaddr?: string;
  options?: DhcpOption[];
}

function start(all: readonly DhcpServerSettings[] = ALL, saved: readonly Lease[] = []) {
  const nodes = new Set<Mac>();
  const responders = leaseResponders(all, { isReserved: () => false, isNode: (who) => nodes.has(who) }, saved);
  const state = { nowMs: 1_000_000 };
  function exchange(who: Mac, message: MessageType, { on = 0, client = { kind: "other" }, ...ask }: Ask = {}) {
    const request = makePacket({
      op: "request",
      transactionId: 7,
      mac: who,
      relayAddress: ip(ask.giaddr ?? "0.0.0.0"),
      clientAddress: ip(ask.ciaddr ?? "0.0.0.0"),
      options: [makeOption(OPTIONS.messageType, message), ...(ask.options ?? [])],
    });
    return responders[on]!(request, readClientFacts(request, message), client, state.nowMs);
  }
  function reply(who: Mac, message: MessageType, ask: Ask = {}) {
    const decision = exchange(who, message, ask);
    if (decision.kind !== "reply") throw new Error(decision.reason);
    return decision.reply;
  }
  const requested = (address: Ipv4) => makeOption(OPTIONS.requestedAddress, address);
  function join(who: Mac, ask: Ask = {}): string {
    const { yourAddress } = reply(who, "DISCOVER", ask);
    return reply(who, "REQUEST", { ...ask, options: [...(ask.options ?? []), requested(yourAddress)] }).yourAddress;
  }
  return { exchange, reply, join, requested, state, nodes };
}

describe("a request is answered with an address of", () => {
  it("the interface's network when no relay agent had a hand in it", () => {
    const { join } = start();
    expect(join(mac(1))).toMatch(/^10\.0\.1\.10[0-3]$/);
    expect(join(mac(1), { on: 1 })).toMatch(/^10\.0\.2\.10[0-3]$/);
  });

  it("the relay agent's network, to be sent there, whichever interface it came in by", () => {
    const { reply, join } = start();
    for (const on of [0, 1]) {
      const offer = reply(mac(1), "DISCOVER", { on, giaddr: "10.0.3.1" });
      expect(offer.yourAddress).toMatch(/^10\.0\.3\.10[0-3]$/);
      expect(offer.relayAddress).toBe("10.0.3.1");
      expect(readOption(offer.options, OPTIONS.routers)).toEqual(["10.0.3.1"]);
      expect(readOption(offer.options, OPTIONS.leaseTimeS)).toBe(600);
      // It renews there, by a route through its router.
      expect(readOption(offer.options, OPTIONS.serverIdentifier)).toBe("10.0.1.1");
    }
    expect(join(mac(1), { giaddr: "10.0.1.200" })).toMatch(/^10\.0\.1\./);
  });

  it("the network that the relay agent selects, when its own address is elsewhere", () => {
    const selection = { code: 82, value: Buffer.from("0103616263" + "05040a000300", "hex") };
    const { yourAddress, relayAddress } = start().reply(mac(1), "DISCOVER", {
      giaddr: "192.0.2.9",
      options: [selection],
    });
    expect(yourAddress).toMatch(/^10\.0\.3\.10[0-3]$/);
    expect(relayAddress).toBe("192.0.2.9");
  });

  it("none that is unknown", () => {
    expect(start().exchange(mac(1), "DISCOVER", { giaddr: "10.0.9.1" })).toEqual({
      kind: "ignore",
      reason: "no network of ours holds 10.0.9.1, the address of its relay agent",
      cause: "unknown-relay",
    });
  });

  it("the network of the lease, when a client behind a relay agent renews without it", () => {
    const { join, reply, state } = start();
    const address = join(mac(1), { giaddr: "10.0.3.1" });
    state.nowMs += 300_000;
    const ack = reply(mac(1), "REQUEST", { ciaddr: address });
    expect(ack).toMatchObject({ yourAddress: address, clientAddress: address, relayAddress: "0.0.0.0" });
    state.nowMs += 599_000;
    expect(reply(mac(1), "REQUEST", { ciaddr: address }).yourAddress).toBe(address);
  });

  it("the new network when the client moved there and asks for its old address", () => {
    const { join, reply, requested } = start();
    const address = ip(join(mac(1)));
    for (const ask of [{ options: [requested(address)] }, { ciaddr: address }]) {
      const nak = reply(mac(1), "REQUEST", { on: 1, ...ask });
      expect(readOption(nak.options, OPTIONS.messageType)).toBe("NAK");
    }
    expect(join(mac(1), { on: 1 })).toMatch(/^10\.0\.2\./);
  });

  it("each network as it was before a restart", () => {
    const saved = [1, 2, 3].map(
      (third): Lease => ({ mac: mac(1), address: ip(`10.0.${third}.103`), expiresUnixMs: 2_000_000, state: "bound" }),
    );
    const { join, reply, requested } = start(ALL, saved);
    expect([join(mac(1)), join(mac(1), { on: 1 }), join(mac(1), { giaddr: "10.0.3.1" })]).toEqual(
      saved.map(({ address }) => address),
    );
    const nak = reply(mac(2), "REQUEST", { giaddr: "10.0.3.1", options: [requested(ip("10.0.3.103"))] });
    expect(readOption(nak.options, OPTIONS.messageType)).toBe("NAK");
    // A relay agent must broadcast it.
    expect(nak).toMatchObject({ flags: 0x8000, relayAddress: "10.0.3.1" });
  });
});

describe("addresses of the range", () => {
  const with_ = (more: Partial<DhcpSubnet>): DhcpServerSettings[] => [{ mode: "server", ...subnet(1), ...more }];

  it("that are excluded are never given, not even to who asks for one", () => {
    const excluded = [
      { first: ip("10.0.1.100"), last: ip("10.0.1.101") },
      { first: ip("10.0.1.103"), last: ip("10.0.1.103") },
    ];
    const { join, exchange, reply, requested } = start(with_({ excluded }));
    const nak = reply(mac(1), "REQUEST", { options: [requested(ip("10.0.1.101"))] });
    expect(readOption(nak.options, OPTIONS.messageType)).toBe("NAK");
    expect(join(mac(1))).toBe("10.0.1.102");
    expect(exchange(mac(2), "DISCOVER")).toMatchObject({ kind: "ignore", cause: "range-used-up" });
  });

  it("that are reserved are given to their clients alone, as are those outside of it", () => {
    const reservations = new Map([
      [mac(1), ip("10.0.1.100")],
      [mac(2), ip("10.0.1.50")],
    ]);
    const { join, exchange } = start(with_({ reservations }));
    expect([3, 4, 5].map((last) => join(mac(last))).sort()).toEqual(["10.0.1.101", "10.0.1.102", "10.0.1.103"]);
    expect(exchange(mac(6), "DISCOVER").kind).toBe("ignore");
    expect(join(mac(1))).toBe("10.0.1.100");
    expect(join(mac(2))).toBe("10.0.1.50");
  });

  it("are found again as soon as a lease ends, and as soon as one is given back", () => {
    const { join, exchange, state } = start();
    const addresses = [1, 2, 3, 4].map((last) => join(mac(last)));
    expect(exchange(mac(5), "DISCOVER").kind).toBe("ignore");
    exchange(mac(2), "RELEASE", { ciaddr: addresses[1]! });
    expect(join(mac(5))).toBe(addresses[1]);
    expect(exchange(mac(6), "DISCOVER").kind).toBe("ignore");
    state.nowMs += 3_600_000;
    expect(addresses).toContain(join(mac(6)));
  });
});

describe("a bare offer", () => {
  const pi: DhcpClient = { kind: "pi", node: "node1" };

  it("to a node is saved when the address is one of the range, for a 3B boots on it", () => {
    const { exchange } = start();
    const decision = exchange(mac(1), "DISCOVER", { client: pi });
    expect(decision.lease).toMatchObject({ mac: mac(1), state: "offered", expiresUnixMs: 1_600_000 });
    const reserved: DhcpClient = { ...pi, reservedAddress: ip("10.0.1.9") };
    expect(exchange(mac(2), "DISCOVER", { client: reserved }).lease).toBeUndefined();
    expect(exchange(mac(3), "DISCOVER").lease).toBeUndefined();
  });

  it("that was saved keeps its address from others after a restart", () => {
    const address = start().reply(mac(1), "DISCOVER").yourAddress;
    const saved: Lease[] = [{ mac: mac(1), address, expiresUnixMs: 1_600_000, state: "offered" }];
    const { join, exchange, state } = start(ALL, saved);
    const others = [2, 3, 4].map((last) => join(mac(last)));
    expect(others).not.toContain(address);
    expect(exchange(mac(5), "DISCOVER").kind).toBe("ignore");
    state.nowMs = 1_600_000;
    expect(join(mac(5))).toBe(address);
  });
});

describe("an answer tells", () => {
  const told: DhcpServerSettings[] = [
    {
      mode: "server",
      ...subnet(1),
      routers: [ip("10.0.1.254")],
      domainName: "attic.example",
      ntpServers: [ip("10.0.1.3"), ip("10.0.1.4")],
      searchDomains: ["attic.example", "example"],
      mtuBytes: 1400,
      extraOptions: [
        { code: 43, value: Buffer.from("0104c0000201", "hex") },
        { code: 252, value: Buffer.from("http://wpad/wpad.dat") },
      ],
    },
  ];
  const wants = (...codes: number[]) => makeOption(OPTIONS.parameterRequestList, Uint8Array.from(codes));
  const codesOf = (options: readonly DhcpOption[]) => options.map(({ code }) => code);

  it("who asks for it the time servers, search domains, MTU and options of the manifest", () => {
    const { options } = start(told).reply(mac(1), "DISCOVER", { options: [wants(1, 3, 26, 42, 43, 119, 252)] });
    expect(codesOf(options)).toEqual([53, 54, 51, 1, 3, 15, 26, 42, 119, 43, 252]);
    expect(readOption(options, OPTIONS.ntpServers)).toEqual(["10.0.1.3", "10.0.1.4"]);
    expect(readOption(options, OPTIONS.interfaceMtu)).toBe(1400);
    expect(readOption(options, OPTIONS.domainSearch)).toEqual(["attic.example", "example"]);
  });

  it("who does not ask for it nothing of them, and who asks for nothing in particular all", () => {
    const { reply } = start(told);
    expect(codesOf(reply(mac(1), "DISCOVER", { options: [wants(1, 3)] }).options)).toEqual([53, 54, 51, 1, 3, 15]);
    expect(codesOf(reply(mac(1), "INFORM").options)).toEqual([53, 54, 1, 3, 15, 26, 42, 119, 43, 252]);
  });

  it("a node what to boot with, not what the manifest has at the same numbers", () => {
    const client: DhcpClient = { kind: "pi", node: "node1" };
    const { options } = start(told).reply(mac(1), "DISCOVER", { client, options: [wants(1, 3, 43, 66)] });
    expect(codesOf(options).filter((code) => code === 43)).toHaveLength(1);
    expect(Buffer.from(readOption(options, OPTIONS.vendorSpecific)!).toString("latin1")).toContain("Raspberry Pi Boot");
  });

  it("only what fits into the datagram that the client takes", () => {
    const large = [224, 225, 226].map((code) => ({ code, value: new Uint8Array(200) }));
    const settings: DhcpServerSettings[] = [
      { ...told[0]!, extraOptions: [...large, { code: 252, value: Buffer.from("x") }] },
    ];
    const { reply } = start(settings);
    const sizes: [DhcpOption[], number, number[]][] = [
      // RFC 2131: 576 bytes with IP and UDP, when the client does not say more.
      [[], 548, [224, 252]],
      [[makeOption(OPTIONS.maximumMessageBytes, 800)], 772, [224, 225, 252]],
      [[makeOption(OPTIONS.maximumMessageBytes, 1500)], 1472, [224, 225, 226, 252]],
      // Nobody takes less than 576.
      [[makeOption(OPTIONS.maximumMessageBytes, 20)], 548, [224, 252]],
    ];
    for (const [options, bytesMax, codes] of sizes) {
      const answer = reply(mac(1), "DISCOVER", { options: [wants(1, 224, 225, 226, 252), ...options] });
      expect(encodePacket(answer).length).toBeLessThanOrEqual(bytesMax);
      expect(codesOf(answer.options).filter((code) => code >= 224)).toEqual(codes);
    }
  });

  it("client and relay agent back what they sent, the relay agent's last on the wire", () => {
    const identifier = { code: 61, value: Buffer.from("ff0102", "hex") };
    const agent = { code: 82, value: Buffer.from("0103616263", "hex") };
    const { reply, requested } = start(told);
    const ask = { giaddr: "10.0.1.77", options: [agent, identifier] };
    const offer = reply(mac(1), "DISCOVER", ask);
    const nak = reply(mac(1), "REQUEST", { ...ask, options: [...ask.options, requested(ip("10.0.9.9"))] });
    for (const answer of [offer, nak]) {
      const bytes = Buffer.from(encodePacket(answer));
      expect(bytes.subarray(-300).toString("hex")).toMatch(/3d03ff0102(.*)?52050103616263ff(00)*$/);
      const { options } = decodePacket(bytes);
      expect(Buffer.from(readOption(options, OPTIONS.clientIdentifier)!).toString("hex")).toBe("ff0102");
      expect(options.at(-1)).toEqual({ code: 82, value: agent.value });
    }
  });
});

describe("an address", () => {
  const who = fc.integer({ min: 1, max: 6 });
  const pi: DhcpClient = { kind: "pi", node: "node1" };
  const step = fc.record({
    who,
    message: fc.constantFrom<MessageType | "crash">(
      "DISCOVER",
      "DISCOVER",
      "REQUEST",
      "REQUEST",
      "RELEASE",
      "DECLINE",
      "crash",
    ),
    passMs: fc.constantFrom(0, 1000, 61_000, 3_700_000),
  });

  it("is never two clients', though the server forgets at any time what it has not saved", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const saved = new Map<Ipv4, Lease>();
        let server = start();
        /** What each client may be using, as it sees it, and until when. The first is a Pi that boots on bare offers. */
        const held = new Map<Mac, { address: Ipv4; untilMs: number }>();
        const offered = new Map<Mac, Ipv4>();
        let nowMs = 1_000_000;
        for (const { who: last, message, passMs } of steps) {
          nowMs += passMs;
          if (message === "crash") {
            server = start(ALL, [...saved.values()]);
            continue;
          }
          server.state.nowMs = nowMs;
          const client = mac(last);
          const isPi = last === 1;
          const options = message === "DISCOVER" ? [] : [server.requested(offered.get(client) ?? ip("10.0.1.100"))];
          const decision = server.exchange(client, message, { options, ...(isPi && { client: pi }) });
          if (decision.lease) saved.set(decision.lease.address, decision.lease);
          const mine = held.get(client)?.address;
          const names = readOption(options, OPTIONS.requestedAddress);
          // It starts anew, or says that it has left.
          if (message === "DISCOVER" || (message !== "REQUEST" && mine === names && !isPi)) held.delete(client);
          if (decision.kind !== "reply") continue;
          const { yourAddress } = decision.reply;
          if (yourAddress === "0.0.0.0") {
            held.delete(client);
            continue;
          }
          offered.set(client, yourAddress);
          const leaseMs = message === "REQUEST" ? 3_600_000 : isPi ? 600_000 : 0;
          if (leaseMs === 0) continue;
          const others = [...held].filter(([each, { address, untilMs }]) => {
            return each !== client && address === yourAddress && untilMs > nowMs;
          });
          expect(others).toEqual([]);
          held.set(client, { address: yourAddress, untilMs: nowMs + leaseMs });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
