import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryClock, MemorySockets } from "../../test/memory-network.ts";
import { IPV4_ANY, parseIpv4, parseMac } from "../bytes/addresses.ts";
import type { DhcpObservation } from "./observation.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { decodePacket, encodePacket, makePacket } from "./packet.ts";
import type { DhcpSettings, Lease } from "./policy.ts";
import { startDhcpServer } from "./server.ts";

const serverAddress = parseIpv4("10.0.0.1");
const address = parseIpv4("10.0.0.10");
const mac = parseMac("dc:a6:32:00:00:01");
const proxy: DhcpSettings = { mode: "proxy", serverAddress };
const lease: DhcpSettings = {
  mode: "server",
  serverAddress,
  subnetMask: parseIpv4("255.255.255.0"),
  routers: [],
  dnsServers: [],
  leaseTimeS: 600,
};

async function start(
  settings: DhcpSettings,
  save?: (lease: Lease) => Promise<void>,
  beforeReply?: () => Promise<void>,
) {
  const sockets = new MemorySockets();
  const observed: DhcpObservation[] = [];
  const server = await startDhcpServer({
    sockets,
    clock: new MemoryClock(),
    settings,
    interfaceName: "eth7",
    policy: {
      classify: (facts) =>
        facts.mac === mac ? { kind: "pi", node: "node1", reservedAddress: address } : { kind: "other" },
      isReserved: () => false,
      isNode: (who) => who === mac,
      ...(beforeReply && { beforeReply }),
    },
    ...(save && { leaseStore: { load: async () => [], save } }),
    observe: (observation) => observed.push(observation),
  });
  const say = (message: MessageType, options: DhcpOption[] = [], who = mac) => {
    const packet = makePacket({
      op: "request",
      transactionId: 1,
      mac: who,
      options: [makeOption(OPTIONS.messageType, message), ...options],
    });
    sockets.deliver(67, encodePacket(packet), { address: IPV4_ANY, port: 68 });
  };
  const kinds = () => observed.splice(0).map(({ kind }) => kind);
  return { server, sockets, observed, say, kinds };
}

const pxe = makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001");
const requested = makeOption(OPTIONS.requestedAddress, address);

describe("the DHCP server", () => {
  it("listens on all addresses of its interface, for broadcasts", async () => {
    const { sockets, server } = await start(proxy);
    expect(sockets.bindings).toEqual([{ address: "0.0.0.0", port: 67, broadcast: true, interfaceName: "eth7" }]);
    server.close();
    expect(sockets.openCount).toBe(0);
  });

  it("broadcasts the proxy's offer from the boot server's address", async () => {
    const { sockets, say, observed } = await start(proxy);
    say("DISCOVER", [pxe]);
    const [sent] = sockets.sent();
    expect(sent).toMatchObject({
      to: { address: "255.255.255.255", port: 68 },
      options: { localAddress: serverAddress },
      fromPort: 67,
    });
    expect(decodePacket(sent!.bytes)).toMatchObject({ op: "reply", yourAddress: "0.0.0.0" });
    const client = { kind: "pi", node: "node1", reservedAddress: address };
    expect(observed).toEqual([
      { kind: "request", facts: { mac, message: "DISCOVER", vendorClass: "PXEClient:Arch:00000:UNDI:002001" }, client },
      { kind: "reply", mac, message: "OFFER", responder: "proxy", client },
    ]);
  });

  it("learns in proxy mode from a REQUEST to the router who uses which address", async () => {
    const { sockets, say, observed } = await start(proxy);
    say("REQUEST", [requested]);
    expect(sockets.sent()).toEqual([]);
    expect(observed.map(({ kind }) => kind)).toEqual(["request", "address-seen"]);
    expect(observed[1]).toMatchObject({ mac, address });
  });

  it("sends an offer to a client without an address by its hardware address", async () => {
    const { sockets, say, kinds } = await start(lease);
    say("DISCOVER", [pxe]);
    expect(sockets.sent()[0]).toMatchObject({ to: { address, port: 68 }, options: { hardwareAddress: mac } });
    expect(kinds()).toEqual(["request", "address-seen", "reply"]);
  });

  it("answers only after the lease is saved", async () => {
    let saved = () => {};
    const { sockets, say } = await start(
      lease,
      () =>
        new Promise((resolve) => {
          saved = resolve;
        }),
    );
    say("REQUEST", [requested]);
    await new Promise(setImmediate);
    expect(sockets.sent()).toEqual([]);
    saved();
    await new Promise(setImmediate);
    expect(readOption(decodePacket(sockets.sent()[0]!.bytes).options, OPTIONS.messageType)).toBe("ACK");
  });

  it.each([
    ["a stranger's relay agent information", OPTIONS.relayAgentInformation, lease, parseMac("52:54:00:00:00:09")],
    ["a client GUID in server mode", OPTIONS.clientGuid, lease, mac],
    ["a client GUID in proxy mode", OPTIONS.clientGuid, proxy, mac],
  ] as const)("survives %s that is too long for an answer to give back", async (_, option, settings, who) => {
    const { sockets, say, kinds } = await start(settings);
    const tooLong = makeOption(option, new Uint8Array(1240));
    const message = who === mac ? "DISCOVER" : "INFORM";
    say(message, [tooLong], who);
    expect(kinds().at(-1)).toBe("malformed");
    say("DISCOVER", [pxe]);
    expect(sockets.sent()).toHaveLength(1);
  });

  it("does not answer when the lease cannot be saved, and says so", async () => {
    const { sockets, say, observed } = await start(lease, () => Promise.reject(new Error("ENOSPC")));
    say("REQUEST", [requested]);
    await new Promise(setImmediate);
    expect(sockets.sent()).toEqual([]);
    expect(observed.at(-1)).toEqual({ kind: "failed", mac, reason: "Cannot save lease: ENOSPC" });
  });

  it("answers a client only after what must be done before, and not at all when that fails", async () => {
    let finish: { done(): void; fail(error: Error): void } | undefined;
    const wait = () =>
      new Promise<void>((done, fail) => {
        finish = { done, fail };
      });
    const { sockets, say, observed } = await start(proxy, undefined, wait);
    say("DISCOVER", [pxe]);
    await new Promise(setImmediate);
    expect(sockets.sent()).toEqual([]);
    finish!.done();
    await new Promise(setImmediate);
    expect(sockets.sent()).toHaveLength(1);
    say("DISCOVER", [pxe]);
    finish!.fail(new Error("EIO"));
    await new Promise(setImmediate);
    expect(sockets.sent()).toEqual([]);
    expect(observed.at(-1)).toEqual({ kind: "failed", mac, reason: "EIO" });
  });

  it("answers nobody where DHCP is another's, and learns who uses which address", async () => {
    const { sockets, say, observed } = await start({ mode: "external", serverAddress });
    for (const message of ["DISCOVER", "REQUEST", "INFORM", "RELEASE"] as const) say(message, [pxe, requested]);
    expect(sockets.sent()).toEqual([]);
    const kinds = observed.map(({ kind }) => kind);
    expect(kinds).toEqual(["request", "request", "address-seen", "request", "address-seen", "request"]);
    expect(observed[2]).toMatchObject({ mac, address });
  });

  it("prepares no boot where DHCP is another's: that begins with the first file", async () => {
    let prepared = 0;
    const { say } = await start({ mode: "external", serverAddress }, undefined, async () => void prepared++);
    say("DISCOVER", [pxe]);
    expect(prepared).toBe(0);
  });

  it("has a socket for each interface, answers from that one's address, and shares the leases", async () => {
    const sockets = [new MemorySockets(), new MemorySockets()];
    const second = { ...lease, serverAddress: parseIpv4("10.1.0.1") };
    const other = { settings: second, interfaceName: "eth8" };
    const range = { first: parseIpv4("10.0.0.50"), last: parseIpv4("10.0.0.60") };
    const relayed = {
      ...lease,
      network: parseIpv4("10.2.0.0"),
      range: { first: parseIpv4("10.2.0.9"), last: parseIpv4("10.2.0.9") },
    };
    let bound = 0;
    const server = await startDhcpServer({
      sockets: { bind: (binding) => sockets[bound++]!.bind(binding) },
      clock: new MemoryClock(),
      settings: { ...lease, range, relayed: [relayed] },
      interfaceName: "eth7",
      others: [other],
      policy: { classify: () => ({ kind: "other" }), isReserved: () => false, isNode: () => false },
      observe: () => {},
    });
    expect(sockets.flatMap(({ bindings }) => bindings.map(({ interfaceName }) => interfaceName))).toEqual([
      "eth7",
      "eth8",
    ]);
    const ask = (on: number, who: string, relayAddress = IPV4_ANY) => {
      const options = [makeOption(OPTIONS.messageType, "DISCOVER")];
      const packet = makePacket({ op: "request", transactionId: 1, mac: parseMac(who), relayAddress, options });
      sockets[on]!.deliver(67, encodePacket(packet), { address: IPV4_ANY, port: 68 });
      const [sent] = sockets[on]!.sent();
      return sent && [decodePacket(sent.bytes).yourAddress, sent.options.localAddress, sent.to.address];
    };
    expect(ask(0, "02:00:00:00:00:01")?.[1]).toBe("10.0.0.1");
    // No range there.
    expect(ask(1, "02:00:00:00:00:01")).toBeUndefined();
    const agent = parseIpv4("10.2.0.1");
    expect(ask(1, "02:00:00:00:00:01", agent)).toEqual(["10.2.0.9", "10.1.0.1", agent]);
    expect(ask(0, "02:00:00:00:00:02", agent)).toBeUndefined();
    server.close();
    expect(sockets.map(({ openCount }) => openCount)).toEqual([0, 0]);
  });

  it("tells of what it does not answer, and why", async () => {
    const { say, observed } = await start(proxy);
    say("DISCOVER", [pxe], parseMac("00:11:22:33:44:55"));
    expect(observed.at(-1)).toMatchObject({ kind: "ignored", message: "DISCOVER", reason: "not a Raspberry Pi" });
  });

  it.each([
    ["that are damaged", Uint8Array.of(1, 2, 3), ["malformed"]],
    ["of BOOTP", encodePacket(makePacket({ op: "request", transactionId: 1, mac })), ["malformed"]],
    ["of other servers", encodePacket(makePacket({ op: "reply", transactionId: 1, mac })), []],
  ])("survives packets %s", async (_, bytes, expected) => {
    const { sockets, kinds } = await start(proxy);
    sockets.deliver(67, bytes, { address: IPV4_ANY, port: 68 });
    expect(kinds()).toEqual(expected);
    expect(sockets.sent()).toEqual([]);
  });

  it.each([
    ["proxy", proxy],
    ["server", lease],
  ])(
    "in %s mode survives every packet, and never answers with one that is malformed",
    async (_, settings) => {
      const { sockets } = await start(settings);
      const codes = Object.values(OPTIONS).map(({ code }) => code);
      const option = fc.record({ code: fc.constantFrom(...codes), value: fc.uint8Array({ maxLength: 20 }) });
      const type = fc.integer({ min: 0, max: 9 }).map((value) => ({ code: 53, value: Uint8Array.of(value) }));
      fc.assert(
        fc.property(type, fc.array(option, { maxLength: 5 }), fc.nat(255), fc.nat(239), (first, rest, value, at) => {
          const bytes = encodePacket(makePacket({ op: "request", transactionId: 1, mac, options: [first, ...rest] }));
          // Half of them with one byte of the header changed.
          if (at % 2 === 0) bytes[at] = value;
          sockets.deliver(67, bytes, { address: IPV4_ANY, port: 68 });
          for (const sent of sockets.sent()) expect(decodePacket(sent.bytes).op).toBe("reply");
        }),
        { numRuns: 20_000 },
      );
    },
    60_000,
  );
});
