import { describe, expect, it } from "vitest";
import { formatProblem, type ManifestSurroundings, parseManifest } from "./manifest.ts";

const SURROUNDINGS: ManifestSurroundings = { fileExists: () => true };

const manifest = (network: string, nodes = "[{ name: a, serial: 1 }]") =>
  `cluster: attic\nimage: pi.img\nnetwork:\n${network}\nnodes: ${nodes}\n`;

function problemsOf(text: string): string[] {
  const result = parseManifest(text, SURROUNDINGS);
  return result.ok ? [] : result.problems.map((problem) => formatProblem("bramble.yaml", problem));
}

const LARGE = `  interface: eth0
  dhcp: server
  subnet: 192.168.1.0/24
  range: { from: 192.168.1.100, to: 192.168.1.199 }
  exclude: [192.168.1.120, { from: 192.168.1.130, to: 192.168.1.139 }]
  reservations: [{ mac: 00-11-22-33-44-55, address: 192.168.1.5 }]
  search: [attic.example, example]
  ntp: [192.168.1.3]
  mtu: 1400
  leaseTime: 30m
  options:
    150: { addresses: [192.168.1.4] }
    252: { text: "http://wpad/wpad.dat" }
    38: { u32: 60 }
    224: { hex: "01 0a:ff" }
  others:
    - { interface: eth1, subnet: 10.1.0.0/24, address: 10.1.0.1, range: { from: 10.1.0.10, to: 10.1.0.20 } }
    - { subnet: 10.2.0.0/16, router: 10.2.0.1, range: { from: 10.2.0.10, to: 10.2.1.20 }, leaseTime: 1d }`;

describe("the network section", () => {
  it("takes everything that DHCP can tell, for several networks", () => {
    const result = parseManifest(
      manifest(LARGE, "[{ name: a, serial: 1, address: 10.1.0.9 }, { name: b, serial: 2, address: 10.2.3.4 }]"),
      SURROUNDINGS,
    );
    expect(result.ok ? [] : result.problems).toEqual([]);
    expect(result.ok && result.manifest.network).toMatchObject({
      exclude: ["192.168.1.120", { from: "192.168.1.130", to: "192.168.1.139" }],
      reservations: [{ mac: "00:11:22:33:44:55", address: "192.168.1.5" }],
      leaseTime: 1800,
      options: { 150: { addresses: ["192.168.1.4"] }, 38: { u32: 60 } },
      others: [{ interface: "eth1" }, { router: "10.2.0.1", leaseTime: 86_400 }],
    });
  });

  it("lets a node and the manager be one machine on loopback", () => {
    const text = manifest("  address: 127.0.0.1\n  dhcp: external", "[{ name: a, serial: 1, address: 127.0.0.1 }]");
    expect(problemsOf(text)).toEqual([]);
  });

  const other = (text: string, first = "  interface: eth0\n  dhcp: server\n  subnet: 10.0.0.0/24") =>
    manifest(`${first}\n  others:\n    - ${text}`, "[]");
  it.each([
    [
      "an address that is in none of several networks",
      manifest(LARGE, "[{ name: a, serial: 1, address: 10.3.0.9 }]"),
      "22:40: nodes[0].address: The address 10.3.0.9 is outside the networks 192.168.1.0/24, 10.1.0.0/24, 10.2.0.0/16. Use one from 192.168.1.1 to 192.168.1.254",
    ],
    [
      "the manager's address on another network",
      manifest(LARGE, "[{ name: a, serial: 1, address: 10.1.0.1 }]"),
      "22:40: nodes[0].address: The address 10.1.0.1 is already that of the manager",
    ],
    [
      "an exclusion elsewhere",
      manifest("  subnet: 10.0.0.0/24\n  exclude: [10.0.1.3]"),
      "5:13: network.exclude[0]: The address 10.0.1.3 is outside the network 10.0.0.0/24. Use one from 10.0.0.1 to 10.0.0.254",
    ],
    [
      "an exclusion that runs backwards",
      manifest("  subnet: 10.0.0.0/24\n  exclude: [{ from: 10.0.0.9, to: 10.0.0.3 }]"),
      "5:13: network.exclude[0]: The range ends at 10.0.0.3, before it starts at 10.0.0.9. Swap from and to",
    ],
    [
      "a range that is too large to remember",
      manifest("  subnet: 10.0.0.0/8\n  range: { from: 10.0.0.1, to: 10.1.0.1 }"),
      "5:10: network.range: The range has 65537 addresses. Use at most 65536: each that is given is remembered",
    ],
    [
      "networks that overlap",
      other("{ interface: eth1, subnet: 10.0.0.128/25 }"),
      "8:7: network.others[0]: The network 10.0.0.128/25 overlaps 10.0.0.0/24 (line 4)",
    ],
    [
      "an interface given twice",
      other("{ interface: eth0, subnet: 10.0.1.0/24 }"),
      "8:20: network.others[0].interface: The interface eth0 is already that of network. Each network needs an interface of its own",
    ],
    [
      "interfaces of which the first has no name",
      other("{ interface: eth1, subnet: 10.0.1.0/24 }", "  dhcp: server\n  subnet: 10.0.0.0/24"),
      "4:3: network: With several interfaces, the first must be named too. Add network.interface",
    ],
    [
      "a relayed network beside a router",
      other("{ subnet: 10.0.1.0/24 }", "  dhcp: proxy"),
      "6:7: network.others[0]: The network 10.0.1.0/24 has no interface: behind a relay agent, only dhcp: server gives addresses. Add the interface, or set network.dhcp to server",
    ],
    [
      "an option that has a key",
      manifest("  options: { 42: { addresses: [10.0.0.1] } }"),
      "4:18: network.options.42: DHCP option 42 has a key of its own. Use ntp",
    ],
    [
      "an option of the protocol",
      manifest("  options: { 53: { u8: 5 } }"),
      "4:18: network.options.53: DHCP option 53 cannot be set: it is part of the protocol, or there is none",
    ],
    [
      "a reservation of a node's address",
      manifest(
        "  reservations: [{ mac: 00-11-22-33-44-55, address: 10.0.0.9 }]",
        "[{ name: a, serial: 1, address: 10.0.0.9 }]",
      ),
      "4:18: network.reservations[0]: The reservation of 10.0.0.9 is not possible: it is that of node a",
    ],
    [
      "a reservation for a node",
      manifest(
        "  reservations: [{ mac: 00-11-22-33-44-55, address: 10.0.0.9 }]",
        '[{ name: a, mac: "00:11:22:33:44:55" }]',
      ),
      "4:18: network.reservations[0]: The reservation of 00:11:22:33:44:55 is not possible: it is that of node a",
    ],
    [
      "two reservations of one address",
      manifest(
        "  reservations: [{ mac: 00-11-22-33-44-55, address: 10.0.0.9 }, { mac: 00-11-22-33-44-56, address: 10.0.0.9 }]",
      ),
      "4:65: network.reservations[1]: The reservation of 10.0.0.9 is not possible: it is that of another reservation",
    ],
    [
      "a time without its unit",
      manifest('  leaseTime: "3600"'),
      "4:14: network.leaseTime: Expected a time with its unit, as 12h, 30m or 7d",
    ],
    [
      "an option with a value of no type",
      manifest("  options: { 150: 10.0.0.1 }"),
      "4:19: network.options.150: Expected one of { text }, { addresses }, { names }, { u8 }, { u16 }, { u32 } and { hex }, with its value",
    ],
  ])("refuses %s", (_, text, expected) => {
    expect(problemsOf(text)).toEqual([`bramble.yaml:${expected}`]);
  });
});
