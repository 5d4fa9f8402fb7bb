/** How the service answers firmware that needs more than an offer. */
import { describe, expect, it } from "vitest";
import { MemoryClock, MemorySockets } from "../../test/memory-network.ts";
import { IPV4_ANY, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { dhcpNeeds } from "../pi/dhcp-quirks.ts";
import type { DhcpObservation } from "./observation.ts";
import { makeOption, OPTIONS } from "./options.ts";
import { decodePacket, encodePacket, makePacket } from "./packet.ts";
import type { DhcpSettings } from "./policy.ts";
import { startDhcpServer } from "./server.ts";

const serverAddress = parseIpv4("10.0.0.1");
const proxy: DhcpSettings = { mode: "proxy", serverAddress };
const lease: DhcpSettings = {
  mode: "server",
  serverAddress,
  subnetMask: parseIpv4("255.255.255.0"),
  routers: [],
  dnsServers: [],
  leaseTimeS: 600,
  range: { first: parseIpv4("10.0.0.100"), last: parseIpv4("10.0.0.249") },
};
const XID_OF_ALL = 0x26f30339;
const boards = Array.from({ length: 22 }, (_, index) => parseMac(`b8:27:eb:00:00:${(index + 16).toString(16)}`));

async function start(settings: DhcpSettings) {
  const clock = new MemoryClock();
  const sockets = new MemorySockets();
  const observed: DhcpObservation[] = [];
  const server = await startDhcpServer({
    sockets,
    clock,
    settings,
    policy: {
      classify: ({ mac }) => ({ kind: "pi", node: `of ${mac}`, needs: dhcpNeeds("rom-3b")! }),
      isReserved: () => false,
      isNode: () => true,
    },
    observe: (observation) => observed.push(observation),
  });
  const discover = (mac: Mac) => {
    const packet = makePacket({
      op: "request",
      transactionId: XID_OF_ALL,
      mac,
      options: [
        makeOption(OPTIONS.messageType, "DISCOVER"),
        makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"),
        makeOption(OPTIONS.clientGuid, Buffer.from(`00${"44".repeat(16)}`, "hex")),
      ],
    });
    sockets.deliver(67, encodePacket(packet), { address: IPV4_ANY, port: 68 });
  };
  return { clock, sockets, observed, server, discover };
}

describe.each([
  ["proxy mode", proxy],
  ["server mode", lease],
] as const)("the 3B's boot ROM in %s", (_, settings) => {
  const [first, second] = boards as [Mac, Mac];

  it("gets its offer in a frame to its own MAC, never by broadcast, and two frames after it", async () => {
    const { clock, sockets, discover } = await start(settings);
    discover(first);
    clock.pass(3000);
    const sent = sockets.sent();
    expect(sent.map(({ options }) => options.hardwareAddress)).toEqual([first]);
    expect(sent[0]).toMatchObject({ to: { port: 68 }, options: { localAddress: serverAddress } });
    expect(sockets.frames).toHaveLength(2);
    for (const { hardwareAddress, etherType, payload } of sockets.frames) {
      expect({ hardwareAddress, etherType, bytes: payload.length }).toEqual({
        hardwareAddress: first,
        etherType: 0x0842,
        bytes: 46,
      });
    }
  });

  it("gets it again where the two frames cannot be sent", async () => {
    const { clock, sockets, discover } = await start(settings);
    sockets.canSendFrames = false;
    discover(first);
    clock.pass(3000);
    const sent = sockets.sent();
    expect(sent).toHaveLength(3);
    for (const each of sent) expect(each).toEqual(sent[0]);
  });

  it("is told where to boot from by the menu alone", async () => {
    const { sockets, discover } = await start(settings);
    discover(first);
    const codes = decodePacket(sockets.sent()[0]!.bytes).options.map(({ code }) => code);
    expect(codes).toContain(OPTIONS.vendorSpecific.code);
    expect(codes).not.toContain(OPTIONS.tftpServerName.code);
  });

  it("of a whole rack asks at once, and each board gets its own offer, apart from the others, in time", async () => {
    const { clock, sockets, discover, observed } = await start(settings);
    const startMs = clock.nowMs;
    for (const board of boards) discover(board);
    const offers: { mac: Mac | undefined; address: string; atMs: number }[] = [];
    while (clock.nowMs < startMs + 3000) {
      for (const { bytes, options } of sockets.sent()) {
        const packet = decodePacket(bytes);
        expect(packet.mac).toBe(options.hardwareAddress);
        offers.push({ mac: packet.mac, address: packet.yourAddress, atMs: clock.nowMs - startMs });
      }
      clock.pass(1);
    }
    expect(offers.map(({ mac }) => mac)).toEqual(boards);
    expect(offers.map(({ atMs }) => atMs)).toEqual(boards.map((_, index) => 20 * index));
    if (settings.mode === "server") expect(new Set(offers.map(({ address }) => address)).size).toBe(boards.length);
    expect(observed.filter(({ kind }) => kind === "ignored")).toEqual([]);
  });

  it("is told about when it has to ask again, because too many ask", async () => {
    const { clock, sockets, discover, observed } = await start(settings);
    for (let index = 0; index < 80; index++) discover(parseMac(`b8:27:eb:00:01:${(index + 16).toString(16)}`));
    const late = observed.flatMap((each) => (each.kind === "ignored" ? [each.reason] : []));
    expect(new Set(late)).toEqual(new Set(["too many boot ROMs ask at once; it is answered when it asks again"]));
    clock.pass(3000);
    expect(sockets.sent().length + late.length).toBe(80);
  });

  it("gets nothing any more from a server that was closed", async () => {
    const { clock, sockets, server, discover } = await start(settings);
    for (const board of [first, second]) discover(board);
    sockets.sent();
    server.close();
    clock.pass(3000);
    expect(sockets.sent()).toEqual([]);
    expect(sockets.frames).toEqual([]);
  });
});
