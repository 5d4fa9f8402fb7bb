import { describe, expect, it } from "vitest";
import { type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import type { DhcpClient, DhcpClientFacts } from "../dhcp/policy.ts";
import { dhcpPolicy, observeDhcp } from "./dhcp-policy.ts";
import { NodeDirectory } from "./node-directory.ts";

const FIRMWARE = "PXEClient:Arch:00000:UNDI:002001";
const ROM_3B = `00${"44".repeat(16)}`;
const OWN_MAC = parseMac("02:11:22:33:44:55");
const address = parseIpv4("10.0.0.3");

const directory = () =>
  new NodeDirectory([
    { name: "by-mac", mac: parseMac("dc:a6:32:00:00:01"), address },
    { name: "by-serial", serial: "91cdf03d" },
    { name: "old", serial: "b66c4c16" },
  ]);

/** Option 97 of a Pi 4 rev 1.4 with this serial, and the end of this MAC. */
const guidOf = (serial: string, mac: Mac, magic = "34695052") => {
  const reversed = serial.match(/../g)!.reverse().join("");
  return `00${magic}1431d000${mac.slice(6).replaceAll(":", "")}${reversed}`;
};

function facts(mac: Mac, guid?: string, more: Partial<DhcpClientFacts> = {}): DhcpClientFacts {
  const bytes = guid === undefined ? {} : { guid: Uint8Array.from(Buffer.from(guid, "hex")) };
  return { mac, message: "DISCOVER", vendorClass: FIRMWARE, ...bytes, ...more };
}

const pi4 = parseMac("dc:a6:32:00:00:09");
const pi3 = parseMac("b8:27:eb:6c:4c:16");

describe("a DHCP client", () => {
  it.each<[string, DhcpClientFacts, DhcpClient]>([
    [
      "a node by its MAC, whatever it says of itself",
      facts(parseMac("dc:a6:32:00:00:01"), guidOf("91cdf03d", pi4)),
      { kind: "pi", node: "by-mac", reservedAddress: address },
    ],
    ["a node by its serial number", facts(pi4, guidOf("91cdf03d", pi4)), { kind: "pi", node: "by-serial" }],
    [
      "a node by its serial number, with a MAC of its owner's choice",
      facts(OWN_MAC, guidOf("91cdf03d", OWN_MAC)),
      { kind: "pi", node: "by-serial" },
    ],
    [
      "a node by its serial number, with a magic word of its owner's choice",
      facts(OWN_MAC, guidOf("91cdf03d", OWN_MAC, "c0ffee00")),
      { kind: "pi", node: "by-serial" },
    ],
    [
      "a node by the end of its MAC, where the ROM tells nothing else",
      facts(pi3, ROM_3B),
      {
        kind: "pi",
        node: "old",
        needs: expect.objectContaining({ toMacOnly: true, menuOnly: true, nudgesAtMs: [600, 1200] }),
      },
    ],
    [
      "the second stage of the same, which needs less",
      facts(pi3, `00${"164c6cb6".repeat(4)}`),
      { kind: "pi", node: "old", needs: expect.objectContaining({ toMacOnly: false, menuOnly: true, nudgesAtMs: [] }) },
    ],
    ["a Pi that no node names", facts(pi4, guidOf("00000001", pi4)), { kind: "unknown-pi" }],
    ["a Pi with a MAC of its owner's choice", facts(OWN_MAC, guidOf("00000001", OWN_MAC)), { kind: "unknown-pi" }],
    ["a Pi's system, by its MAC", facts(pi4, undefined, { vendorClass: "dhcpcd" }), { kind: "unknown-pi" }],
    ["a PC", facts(OWN_MAC, "00564d1a2b3c4d5e6f708192a3b4c5d6e7"), { kind: "other" }],
    ["a phone", facts(OWN_MAC, undefined, { vendorClass: "android-dhcp-13" }), { kind: "other" }],
  ])("is %s", (_, client, expected) => {
    expect(dhcpPolicy(directory()).classify(client)).toEqual(expected);
  });
});

describe("what the DHCP service saw", () => {
  function observing() {
    const events: [BootOccurrence, string | undefined][] = [];
    const seen: SeenPi[] = [];
    const nodes = directory();
    const observe = observeDhcp(
      nodes,
      (occurrence, node) => events.push([occurrence, node]),
      (pi) => seen.push(pi),
    );
    const request = (client: DhcpClientFacts) =>
      observe({ kind: "request", facts: client, client: dhcpPolicy(nodes).classify(client) });
    return { events, seen, observe, request };
  }

  it("tells of a Pi that no node names its MAC, serial number and model", () => {
    const { seen, request, events } = observing();
    request(facts(pi4, guidOf("00000001", pi4)));
    request(facts(parseMac("b8:27:eb:00:00:01"), ROM_3B));
    expect(seen).toEqual([{ mac: pi4, serial: "00000001", model: "4" }, { mac: "b8:27:eb:00:00:01" }]);
    expect(events).toEqual([]);
  });

  it.each([
    ["a Pi's system that runs from a card", facts(pi4, undefined, { vendorClass: "dhcpcd" })],
    ["the same with its firmware's name", facts(pi4, undefined, { message: "REQUEST" })],
    ["U-Boot on a Pi", facts(pi4, undefined, { vendorClass: "U-Boot.armv8" })],
    ["UEFI on a Pi", facts(pi4, undefined, { vendorClass: "PXEClient:Arch:00011:UNDI:003000" })],
    ["a PC that boots", facts(OWN_MAC, "00564d1a2b3c4d5e6f708192a3b4c5d6e7")],
  ])("is no Pi to be adopted when it is %s", (_, client) => {
    const { seen, request } = observing();
    request(client);
    expect(seen).toEqual([]);
  });

  it("is told of answers to Pis only", () => {
    const { events, observe } = observing();
    const reply = { kind: "reply", mac: pi4, message: "ACK", responder: "server" } as const;
    observe({ ...reply, client: { kind: "other" } });
    observe({ ...reply, client: { kind: "unknown-pi" } });
    observe({ ...reply, client: { kind: "pi", node: "node1" } });
    const told = { kind: "dhcp-reply", mac: pi4, message: "ACK", responder: "server" };
    expect(events).toEqual([
      [told, undefined],
      [told, "node1"],
    ]);
  });

  it("is told of who was not answered only where that keeps somebody from booting", () => {
    const { events, observe } = observing();
    const ignored = { kind: "ignored", mac: pi4, message: "DISCOVER" } as const;
    observe({ ...ignored, client: { kind: "other" }, reason: "not a Raspberry Pi" });
    observe({ ...ignored, client: { kind: "unknown-pi" }, reason: "no node has this address or serial number" });
    observe({ ...ignored, client: { kind: "other" }, reason: "every address is in use", cause: "range-used-up" });
    observe({ ...ignored, client: { kind: "pi", node: "node1" }, reason: "it is iPXE", cause: "not-network-boot" });
    expect(events).toEqual([
      [{ kind: "dhcp-ignored", mac: pi4, reason: "every address is in use", cause: "range-used-up" }, undefined],
      [{ kind: "dhcp-ignored", mac: pi4, reason: "it is iPXE", cause: "not-network-boot" }, "node1"],
    ]);
  });
});
