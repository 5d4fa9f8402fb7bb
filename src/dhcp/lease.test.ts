import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { leaseResponder } from "./lease.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { BROADCAST_FLAG, makePacket } from "./packet.ts";
import { type DhcpClient, type DhcpServerSettings, type Lease, readClientFacts } from "./policy.ts";
import { DHCP_PORTS, replyDestination } from "./reply-destination.ts";

const settings: DhcpServerSettings = {
  mode: "server",
  serverAddress: parseIpv4("10.0.0.1"),
  subnetMask: parseIpv4("255.255.255.0"),
  routers: [parseIpv4("10.0.0.254")],
  dnsServers: [parseIpv4("10.0.0.53")],
  domainName: "attic",
  leaseTimeS: 3600,
  range: { first: parseIpv4("10.0.0.100"), last: parseIpv4("10.0.0.103") },
};
const ip = (last: number) => parseIpv4(`10.0.0.${last}`);
const mac = (last: number) => parseMac(`dc:a6:32:00:00:${last.toString(16).padStart(2, "0")}`);
const node: DhcpClient = { kind: "pi", node: "node1", reservedAddress: ip(10) };
const other: DhcpClient = { kind: "other" };

interface Ask {
  client?: DhcpClient;
  requested?: Ipv4;
  server?: Ipv4;
  ciaddr?: Ipv4;
  giaddr?: Ipv4;
  flags?: number;
  options?: DhcpOption[];
}

function start({ reserved = [ip(10)], saved = [] as Lease[], overrides = {} as Partial<DhcpServerSettings> } = {}) {
  const nodes = new Set([mac(1)]);
  const respond = leaseResponder(
    { ...settings, ...overrides },
    { isReserved: (address) => reserved.includes(address), isNode: (who) => nodes.has(who) },
    saved,
  );
  const state = { nowMs: 1_000_000 };
  /** One message, and the answer as `OFFER 10.0.0.100`, `NAK`, or `(why there is none)`. */
  function exchange(who: Mac, message: MessageType, ask: Ask = {}) {
    const request = makePacket({
      op: "request",
      transactionId: 7,
      mac: who,
      flags: ask.flags ?? 0,
      ...(ask.ciaddr && { clientAddress: ask.ciaddr }),
      ...(ask.giaddr && { relayAddress: ask.giaddr }),
      options: [
        makeOption(OPTIONS.messageType, message),
        ...(ask.requested ? [makeOption(OPTIONS.requestedAddress, ask.requested)] : []),
        ...(ask.server ? [makeOption(OPTIONS.serverIdentifier, ask.server)] : []),
        ...(ask.options ?? []),
      ],
    });
    return respond(request, readClientFacts(request, message), ask.client ?? other, state.nowMs);
  }
  function say(who: Mac, message: MessageType, ask: Ask = {}): string {
    const decision = exchange(who, message, ask);
    if (decision.kind === "ignore") return `(${decision.reason})`;
    const answer = readOption(decision.reply.options, OPTIONS.messageType);
    return answer === "NAK" ? "NAK" : `${answer} ${decision.reply.yourAddress}`;
  }
  /** DISCOVER and REQUEST; the address got. */
  function join(who: Mac, client: DhcpClient = other): string {
    const offered = say(who, "DISCOVER", { client }).replace("OFFER ", "");
    if (offered.startsWith("(")) return offered;
    return say(who, "REQUEST", { client, requested: offered as Ipv4, server: settings.serverAddress });
  }
  return { exchange, say, join, state, nodes };
}

describe("the lease server", () => {
  it.each([
    ["the firmware", "PXEClient:Arch:00000:UNDI:002001", true],
    ["the system", "Linux ipconfig", true],
    ["U-Boot", "U-Boot.armv8", false],
    ["UEFI", "PXEClient:Arch:00011:UNDI:003016", false],
  ])("gives %s of a node (%s) its address; and a boot menu: %s", (_, vendorClass, hasMenu) => {
    const options = [makeOption(OPTIONS.vendorClass, vendorClass)];
    const decision = start().exchange(mac(1), "DISCOVER", { client: node, options });
    if (decision.kind === "ignore") throw new Error(decision.reason);
    expect(decision.reply.yourAddress).toBe(ip(10));
    expect(decision.reply.options.some(({ code }) => code === OPTIONS.vendorSpecific.code)).toBe(hasMenu);
  });

  describe("with a board that took the place of another", () => {
    function replaced(restarted: boolean) {
      const first = start();
      expect(first.join(mac(1), node)).toBe("ACK 10.0.0.10");
      const { lease } = first.exchange(mac(1), "REQUEST", { client: node, requested: ip(10) });
      const now = restarted ? start({ saved: [lease!] }) : first;
      now.nodes.delete(mac(1));
      now.nodes.add(mac(2));
      return now;
    }

    it.each([
      ["at once", false],
      ["after a restart", true],
    ])("gives it the node's address %s, though the lease of the old one has not ended", (_, restarted) => {
      const { join, say } = replaced(restarted);
      expect(join(mac(2), node)).toBe("ACK 10.0.0.10");
      // Should the old one still run, it is told that it is nobody now.
      expect(say(mac(1), "REQUEST", { ciaddr: ip(10) })).toBe("NAK");
      expect(join(mac(1))).toMatch(/^ACK 10\.0\.0\.1\d\d$/);
    });

    it("keeps the address from other nodes until that lease ends", () => {
      const { join, state } = replaced(false);
      const asNode3: DhcpClient = { kind: "pi", node: "node3", reservedAddress: ip(10) };
      expect(join(mac(3), asNode3)).toMatch(/^ACK 10\.0\.0\.1\d\d$/);
      state.nowMs += settings.leaseTimeS * 1000 + 1;
      expect(join(mac(3), asNode3)).toBe("ACK 10.0.0.10");
    });
  });

  it("is silent to strangers where it has no addresses for them: another server may have given them theirs", () => {
    const { range: _, ...rest } = settings;
    const respond = leaseResponder(rest, { isReserved: (address) => address === ip(10), isNode: () => false }, []);
    const ask = (client: DhcpClient, requested: Ipv4) => {
      const options = [makeOption(OPTIONS.messageType, "REQUEST"), makeOption(OPTIONS.requestedAddress, requested)];
      const request = makePacket({ op: "request", transactionId: 7, mac: mac(2), options });
      const decision = respond(request, readClientFacts(request, "REQUEST"), client, 1_000_000);
      return decision.kind === "ignore" ? "" : readOption(decision.reply.options, OPTIONS.messageType);
    };
    expect(ask(other, ip(77))).toBe("");
    expect(ask({ kind: "unknown-pi" }, ip(77))).toBe("");
    expect(ask(node, ip(77))).toBe("NAK");
    expect(ask(other, ip(10))).toBe("NAK");
  });

  it("gives a node its reserved address, and others one of the range", () => {
    const { join } = start();
    expect(join(mac(1), node)).toBe("ACK 10.0.0.10");
    expect(join(mac(2))).toMatch(/^ACK 10\.0\.0\.10[0-3]$/);
  });

  it("gives the bootloader and the operating system of a board the same address, whatever identifiers they send", () => {
    const { say, join } = start();
    const first = join(mac(2)).replace("ACK ", "");
    const duid = makeOption(OPTIONS.clientIdentifier, Buffer.from("ff00000001000100012c", "hex"));
    expect(say(mac(2), "DISCOVER", { options: [duid] })).toBe(`OFFER ${first}`);
  });

  it("sends a node everything it boots with, in the offer and in the acknowledgement", () => {
    const { exchange } = start();
    const guid = makeOption(OPTIONS.clientGuid, Buffer.from("00525069341131a000322ef8ed1045155b", "hex"));
    for (const [message, answer] of [
      ["DISCOVER", "OFFER"],
      ["REQUEST", "ACK"],
    ] as const) {
      const decision = exchange(mac(1), message, { client: node, requested: ip(10), options: [guid] });
      if (decision.kind !== "reply") throw new Error(decision.reason);
      expect(decision.reply.options.map(({ code }) => code)).toEqual([53, 54, 51, 1, 3, 6, 15, 60, 97, 43, 66]);
      expect(readOption(decision.reply.options, OPTIONS.messageType)).toBe(answer);
      expect(readOption(decision.reply.options, OPTIONS.tftpServerName)).toBe("10.0.0.1");
      expect(decision.reply.nextServer).toBe("10.0.0.1");
    }
  });

  it("sends nothing to boot with to others", () => {
    for (const client of [other, { kind: "unknown-pi" } as const]) {
      const decision = start().exchange(mac(3), "DISCOVER", { client });
      if (decision.kind !== "reply") throw new Error(decision.reason);
      expect(decision.reply.options.map(({ code }) => code)).toEqual([53, 54, 51, 1, 3, 6, 15]);
      expect(decision.reply.nextServer).toBe("0.0.0.0");
    }
  });

  it("acknowledges a REQUEST that names neither server, address nor vendor class", () => {
    const { say } = start();
    say(mac(1), "DISCOVER", { client: node });
    expect(say(mac(1), "REQUEST", { client: node })).toBe("ACK 10.0.0.10");
  });

  it("gives a node its address without end, and others for the lease time", () => {
    const { exchange } = start();
    for (const [message, who, client, leaseTimeS] of [
      ["DISCOVER", mac(1), node, 0xffffffff],
      ["REQUEST", mac(1), node, 0xffffffff],
      ["DISCOVER", mac(2), other, 3600],
    ] as const) {
      const decision = exchange(who, message, { client });
      if (decision.kind !== "reply") throw new Error(decision.reason);
      expect(readOption(decision.reply.options, OPTIONS.leaseTimeS)).toBe(leaseTimeS);
    }
  });

  it("gives the address of a node to nobody else, however long it is silent, until it has left the manifest", () => {
    const unreserved: DhcpClient = { kind: "pi", node: "node1" };
    const { say, join, state, nodes } = start({ overrides: { range: { first: ip(100), last: ip(100) } } });
    expect(join(mac(1), unreserved)).toBe("ACK 10.0.0.100");
    state.nowMs += 365 * 24 * 3_600_000;
    expect(say(mac(2), "DISCOVER")).toBe("(every address of the range is in use)");
    expect(say(mac(2), "REQUEST", { requested: ip(100) })).toBe("NAK");
    expect(join(mac(1), unreserved)).toBe("ACK 10.0.0.100");
    nodes.delete(mac(1));
    state.nowMs += 3_600_000;
    expect(join(mac(2))).toBe("ACK 10.0.0.100");
  });

  it("does so after a restart too", () => {
    const saved: Lease[] = [{ mac: mac(1), address: ip(102), expiresUnixMs: 1, state: "bound" }];
    const { join, say } = start({ saved });
    expect(say(mac(3), "REQUEST", { requested: ip(102) })).toBe("NAK");
    expect(join(mac(1), { kind: "pi", node: "node1" })).toBe("ACK 10.0.0.102");
  });

  it("keeps the address of a node that gives it back: its kernel may be using it", () => {
    const unreserved: DhcpClient = { kind: "pi", node: "node1" };
    const { say, join } = start({ overrides: { range: { first: ip(100), last: ip(100) } } });
    join(mac(1), unreserved);
    expect(say(mac(1), "RELEASE", { client: unreserved, ciaddr: ip(100) })).toMatch(/^\(a node keeps its address/);
    expect(say(mac(2), "DISCOVER")).toBe("(every address of the range is in use)");
  });

  it("keeps the offer of a node that never sends a REQUEST for ten minutes", () => {
    const unreserved: DhcpClient = { kind: "pi", node: "node3" };
    const { say, state } = start({ overrides: { range: { first: ip(100), last: ip(100) } } });
    expect(say(mac(3), "DISCOVER", { client: unreserved })).toBe("OFFER 10.0.0.100");
    state.nowMs += 9 * 60_000;
    expect(say(mac(4), "DISCOVER")).toBe("(every address of the range is in use)");
    state.nowMs += 2 * 60_000;
    expect(say(mac(4), "DISCOVER")).toBe("OFFER 10.0.0.100");
  });

  it("frees its offer when the client takes another server's", () => {
    const { say } = start({ overrides: { range: { first: ip(100), last: ip(100) } } });
    say(mac(3), "DISCOVER");
    expect(say(mac(3), "REQUEST", { requested: ip(9), server: ip(2) })).toBe("(it took the offer of 10.0.0.2)");
    expect(say(mac(4), "DISCOVER")).toBe("OFFER 10.0.0.100");
  });

  it("renews, rebinds and takes back after a reboot", () => {
    const { say, join } = start();
    const address = join(mac(2)).replace("ACK ", "") as Ipv4;
    expect(say(mac(2), "REQUEST", { ciaddr: address })).toBe(`ACK ${address}`);
    expect(say(mac(2), "REQUEST", { requested: address })).toBe(`ACK ${address}`);
  });

  it.each([
    ["of another network", parseIpv4("192.168.1.5")],
    ["of the server", ip(1)],
    ["of the router", ip(254)],
    ["reserved for a node", ip(10)],
    ["outside of the range", ip(50)],
  ])("refuses an address %s", (_, requested) => {
    expect(start().say(mac(2), "REQUEST", { requested })).toBe("NAK");
  });

  it("refuses an address that another client holds", () => {
    const { say, join } = start();
    const address = join(mac(2)).replace("ACK ", "") as Ipv4;
    expect(say(mac(3), "REQUEST", { requested: address })).toBe("NAK");
  });

  it("moves a client to an address that was reserved for it meanwhile", () => {
    const { say, join } = start();
    const address = join(mac(1)).replace("ACK ", "") as Ipv4;
    expect(say(mac(1), "REQUEST", { client: node, ciaddr: address })).toBe("NAK");
    expect(join(mac(1), node)).toBe("ACK 10.0.0.10");
  });

  it("does not give a reserved address while somebody still holds it", () => {
    const saved: Lease[] = [{ mac: mac(9), address: ip(10), expiresUnixMs: 2_000_000, state: "bound" }];
    const { join, state } = start({ saved });
    expect(join(mac(1), node)).toMatch(/^ACK 10\.0\.0\.10[0-3]$/);
    state.nowMs = 2_000_000;
    expect(join(mac(1), node)).toBe("ACK 10.0.0.10");
  });

  it("gives a released address to others only when there is no other, and back to its client before", () => {
    const { say, join } = start();
    const address = join(mac(2)).replace("ACK ", "") as Ipv4;
    expect(say(mac(2), "RELEASE", { ciaddr: address })).toBe(`(released ${address}; there is no answer to that)`);
    const others = [3, 4, 5].map((last) => join(mac(last)));
    expect(others).not.toContain(`ACK ${address}`);
    expect(join(mac(6))).toBe(`ACK ${address}`);
    expect(join(mac(2))).toBe("(every address of the range is in use)");
  });

  it("keeps everybody off an address that a client found in use", () => {
    const { say, join } = start();
    const address = join(mac(2)).replace("ACK ", "") as Ipv4;
    expect(say(mac(2), "DECLINE", { requested: address })).toContain("declined");
    expect(join(mac(2))).toMatch(/^ACK/);
    expect([3, 4, 5, 6, 7].map((last) => join(mac(last)))).not.toContain(`ACK ${address}`);
  });

  it("lets nobody release or decline for others", () => {
    const { say, join } = start();
    const address = join(mac(2)).replace("ACK ", "") as Ipv4;
    expect(say(mac(3), "RELEASE", { ciaddr: address })).toBe(`(it does not hold ${address})`);
    expect(say(mac(3), "DECLINE", { requested: address })).toBe(`(it does not hold ${address})`);
    expect(say(mac(2), "REQUEST", { ciaddr: address })).toBe(`ACK ${address}`);
  });

  it("answers INFORM with settings and no lease", () => {
    const decision = start().exchange(mac(2), "INFORM", { ciaddr: ip(50) });
    if (decision.kind !== "reply") throw new Error(decision.reason);
    expect(decision.reply).toMatchObject({ yourAddress: "0.0.0.0", clientAddress: "10.0.0.50" });
    expect(decision.reply.options.map(({ code }) => code)).toEqual([53, 54, 1, 3, 6, 15]);
    expect(decision.lease).toBeUndefined();
  });

  it("goes on after a restart with what was saved", () => {
    const saved: Lease[] = [{ mac: mac(2), address: ip(102), expiresUnixMs: 2_000_000, state: "bound" }];
    const { join, say } = start({ saved });
    expect(say(mac(3), "REQUEST", { requested: ip(102) })).toBe("NAK");
    expect(join(mac(2))).toBe("ACK 10.0.0.102");
  });

  it("never has two clients at one address, whatever they do", () => {
    const command = fc.record({
      who: fc.integer({ min: 1, max: 6 }),
      message: fc.constantFrom<MessageType>("DISCOVER", "REQUEST", "REQUEST", "RELEASE", "DECLINE"),
      address: fc.constantFrom(10, 100, 101, 102, 103, undefined),
      passMs: fc.constantFrom(0, 1000, 61_000, 3_700_000),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const { exchange, state } = start();
        const bound = new Map<Ipv4, Lease>();
        for (const { who, message, address, passMs } of commands) {
          state.nowMs += passMs;
          const client: DhcpClient = who === 1 ? node : other;
          const decision = exchange(mac(who), message, { client, ...(address && { requested: ip(address) }) });
          if (decision.kind === "reply" && decision.lease) {
            const holder = bound.get(decision.lease.address);
            const isNodes = holder?.mac === mac(1);
            const isHeld = holder?.state === "bound" && (isNodes || holder.expiresUnixMs > state.nowMs);
            if (isHeld) expect(holder.mac).toBe(decision.lease.mac);
            // A client that takes a new address has left its old one.
            for (const [held, lease] of bound) if (lease.mac === decision.lease.mac) bound.delete(held);
          }
          // So has one that starts anew.
          if (message === "DISCOVER") {
            for (const [held, lease] of bound) if (lease.mac === mac(who)) bound.delete(held);
          }
          if (decision.lease) bound.set(decision.lease.address, decision.lease);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("an answer goes", () => {
  const fields = { op: "reply", transactionId: 1, mac: mac(2) } as const;
  const offer = makeOption(OPTIONS.messageType, "OFFER");
  const nak = makeOption(OPTIONS.messageType, "NAK");
  const broadcast = { peer: { address: "255.255.255.255", port: 68 } };
  const cases: [string, Partial<ReturnType<typeof makePacket>>, object][] = [
    ["to the relay that asked", { relayAddress: ip(7), options: [nak] }, { peer: { address: ip(7), port: 67 } }],
    ["to everybody as a NAK", { yourAddress: ip(5), clientAddress: ip(5), options: [nak] }, broadcast],
    [
      "to the address that the client has",
      { clientAddress: ip(5), flags: BROADCAST_FLAG },
      { peer: { address: ip(5), port: 68 } },
    ],
    ["to everybody when the client asks for that", { yourAddress: ip(5), flags: BROADCAST_FLAG }, broadcast],
    [
      "to the new address, by the client's hardware address",
      { yourAddress: ip(5) },
      { peer: { address: ip(5), port: 68 }, hardwareAddress: mac(2) },
    ],
    ["to everybody when there is no address", {}, broadcast],
  ];
  it.each(cases)("%s", (_, packet, destination) => {
    expect(replyDestination(makePacket({ ...fields, options: [offer], ...packet }), DHCP_PORTS)).toEqual(destination);
  });
});
