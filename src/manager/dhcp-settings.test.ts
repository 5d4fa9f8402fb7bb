import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import { parseManifest } from "../cluster/manifest.ts";
import { dhcpNetworks } from "./dhcp-settings.ts";
import { serverAddressFor } from "./service-networks.ts";

const ip = parseIpv4;
const OURS = [
  { interfaceName: "eth0", address: ip("192.168.1.2"), netmask: ip("255.255.255.0") },
  { interfaceName: "eth1", address: ip("10.1.0.1"), netmask: ip("255.255.255.0") },
];

function networks(text: string, taken: string[] = []) {
  const result = parseManifest(`cluster: attic\nimage: pi.img\nnetwork:\n${text}\n`, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return dhcpNetworks(result.manifest, OURS.slice(0, text.includes("eth1") ? 2 : 1), taken.map(ip));
}

describe("the manifest's DHCP settings", () => {
  it("are those of a plain network where it says little", () => {
    expect(networks("  interface: eth0\n  dhcp: server\n  router: 192.168.1.1")).toEqual([
      {
        interfaceName: "eth0",
        settings: {
          mode: "server",
          serverAddress: "192.168.1.2",
          subnetMask: "255.255.255.0",
          routers: ["192.168.1.1"],
          dnsServers: [],
          leaseTimeS: 43_200,
        },
      },
    ]);
  });

  it.each(["proxy", "external"])("are only who we are with dhcp: %s", (mode) => {
    expect(networks(`  interface: eth0\n  dhcp: ${mode}\n  mtu: 1400`)).toEqual([
      { interfaceName: "eth0", settings: { mode, serverAddress: "192.168.1.2" } },
    ]);
  });

  const LARGE = `  interface: eth0
  dhcp: server
  dns: [192.168.1.53]
  leaseTime: 30m
  ntp: [192.168.1.3]
  search: [attic.example]
  mtu: 1400
  exclude: [192.168.1.120, { from: 192.168.1.130, to: 192.168.1.139 }]
  reservations: [{ mac: 00-11-22-33-44-55, address: 192.168.1.5 }]
  options:
    150: { addresses: [192.168.1.4, 192.168.1.5] }
    252: { text: "http://wpad/" }
    38: { u32: 60 }
    116: { u8: 1 }
    22: { u16: 1500 }
    88: { names: [a.example, b.example] }
    224: { hex: "01 0a:ff" }
  others:
    - { subnet: 10.2.0.0/16, router: 10.2.0.1, range: { from: 10.2.0.10, to: 10.2.1.20 }, leaseTime: 1d, ntp: [] }
    - { interface: eth1, subnet: 10.1.0.0/25, dns: [], domain: cellar.example }`;

  it("are put into the types and bytes of the protocol", () => {
    const [first] = networks(LARGE, ["192.168.1.2", "192.168.1.9"]);
    const { settings } = first!;
    if (settings.mode !== "server") throw new Error(settings.mode);
    expect(settings).toMatchObject({
      leaseTimeS: 1800,
      ntpServers: ["192.168.1.3"],
      searchDomains: ["attic.example"],
      mtuBytes: 1400,
      excluded: [
        { first: "192.168.1.120", last: "192.168.1.120" },
        { first: "192.168.1.130", last: "192.168.1.139" },
        { first: "192.168.1.2", last: "192.168.1.2" },
        { first: "192.168.1.9", last: "192.168.1.9" },
      ],
    });
    expect([...settings.reservations!]).toEqual([["00:11:22:33:44:55", "192.168.1.5"]]);
    const options = settings.extraOptions!.map(({ code, value }) => [code, Buffer.from(value).toString("hex")]);
    expect(Object.fromEntries(options)).toEqual({
      150: "c0a80104c0a80105",
      252: Buffer.from("http://wpad/").toString("hex"),
      38: "0000003c",
      116: "01",
      22: "05dc",
      88: "01610765" + "78616d706c65000162c002",
      224: "010aff",
    });
  });

  it("of other networks are their own, and the first's where they say nothing", () => {
    const [first, second] = networks(LARGE);
    expect(second).toMatchObject({
      interfaceName: "eth1",
      settings: {
        serverAddress: "10.1.0.1",
        dnsServers: [],
        domainName: "cellar.example",
        leaseTimeS: 1800,
        ntpServers: ["192.168.1.3"],
        routers: [],
      },
    });
    for (const own of ["mtuBytes", "excluded", "reservations", "extraOptions", "range"]) {
      expect(second!.settings).not.toHaveProperty(own);
    }
    expect(first!.settings).toMatchObject({
      relayed: [
        {
          serverAddress: "192.168.1.2",
          network: "10.2.0.0",
          subnetMask: "255.255.0.0",
          routers: ["10.2.0.1"],
          dnsServers: ["192.168.1.53"],
          ntpServers: [],
          leaseTimeS: 86_400,
          range: { first: "10.2.0.10", last: "10.2.1.20" },
        },
      ],
    });
  });
});

describe("a node reaches us by our address", () => {
  it.each([
    ["on its own network", "10.1.0.9", "10.1.0.1"],
    ["on the first, when the manifest has none for it", undefined, "192.168.1.2"],
    ["on the first, from behind a relay agent", "10.2.0.9", "192.168.1.2"],
  ])("%s", (_, address, expected) => {
    expect(serverAddressFor(OURS, { ...(address && { address: ip(address) }) })).toBe(expected);
  });
});
