import { describe, expect, it } from "vitest";
import { IPV4_ANY, type Ipv4, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { type MessageType, makeOption, OPTIONS, readOption } from "../dhcp/options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket } from "../dhcp/packet.ts";
import { NetworkStack } from "./network-stack.ts";
import { lastFreeAddress, startRouter } from "./router.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { VirtualLan } from "./virtual-lan.ts";

const address = parseIpv4("192.168.1.77");
type FourAddresses = [Ipv4, Ipv4, Ipv4, Ipv4];

describe("the router's address", () => {
  it.each<[string, number, Ipv4[], string]>([
    ["is the last of the network", 24, [], "192.168.1.254"],
    ["is the last that is free", 24, [parseIpv4("192.168.1.254"), parseIpv4("192.168.1.253")], "192.168.1.252"],
    ["is within a small network", 30, [], "192.168.1.78"],
    ["is within a large network", 16, [], "192.168.255.254"],
  ])("%s", (_, prefixLength, taken, expected) => {
    expect(lastFreeAddress({ address, prefixLength, taken })).toBe(expected);
  });

  it("cannot be had in a full network", () => {
    const taken = [parseIpv4("192.168.1.77"), parseIpv4("192.168.1.78")];
    expect(() => lastFreeAddress({ address, prefixLength: 30, taken })).toThrow(
      "Cannot simulate a router: no address of 192.168.1.76/30 is free",
    );
  });
});

describe("the router", () => {
  it("gives a Pi that boots an address that nobody has, itself as the router, and nothing to boot with", async () => {
    const clock = new SimulatedClock();
    const lan = new VirtualLan(clock);
    const [manager, node, free, router] = [1, 2, 3, 6].map((last) => parseIpv4(`192.168.1.${last}`)) as FourAddresses;
    const taken = [manager, node, router, parseIpv4("192.168.1.4"), parseIpv4("192.168.1.5")];
    await startRouter({ address: router, prefixLength: 29, taken, clock, port: lan.plug() });
    const ask = askingAs(lan, clock);

    const offer = await ask("DISCOVER");
    expect(offer.yourAddress).toBe(free);
    expect(offer.options.map(({ code }) => code)).toEqual([53, 54, 51, 1, 3, 6]);
    expect(readOption(offer.options, OPTIONS.routers)).toEqual([router]);
    const acknowledgement = await ask("REQUEST", free);
    expect(readOption(acknowledgement.options, OPTIONS.messageType)).toBe("ACK");
    expect(acknowledgement.nextServer).toBe(IPV4_ANY);
  });
});

/** A Pi on the network; its function sends a message and resolves with the answer. */
function askingAs(lan: VirtualLan, clock: SimulatedClock) {
  const mac = parseMac("dc:a6:32:00:00:01");
  const port = lan.plug();
  const stack = new NetworkStack({ mac, clock, transmit: (frame) => port.send(frame) });
  port.onFrame((frame) => stack.receive(frame));
  return (message: MessageType, requested?: Ipv4): Promise<DhcpPacket> => {
    const answer = new Promise<DhcpPacket>((resolve) => {
      stack.listen(68, ({ bytes }) => resolve(decodePacket(bytes)));
    });
    const options = [
      makeOption(OPTIONS.messageType, message),
      makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"),
      ...(requested ? [makeOption(OPTIONS.requestedAddress, requested)] : []),
    ];
    const bytes = encodePacket(makePacket({ op: "request", transactionId: 1, mac, options }));
    stack.sendBroadcast({ sourcePort: 68, port: 67, bytes });
    return clock.runUntilSettled(answer);
  };
}
