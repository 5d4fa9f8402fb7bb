import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import { parseManifest } from "./manifest.ts";
import { networkOfNode } from "./node-network.ts";

const TEXT = `cluster: attic
image: pi.img
network:
  interface: eth0
  dhcp: server
  subnet: 10.0.0.0/24
  router: 10.0.0.254
  dns: [10.0.0.53]
  domain: attic.example
  search: [example, attic.example]
  others:
    - { interface: eth1, subnet: 10.1.0.0/24, router: 10.1.0.254, dns: [], domain: cellar.example }
    - { subnet: 10.2.0.0/24 }
`;

const [first, others, relayed] = [
  { dns: ["10.0.0.53"], domain: "attic.example", searchDomains: ["attic.example", "example"], router: "10.0.0.254" },
  {
    dns: [],
    domain: "cellar.example",
    searchDomains: ["cellar.example", "example", "attic.example"],
    router: "10.1.0.254",
  },
  { dns: ["10.0.0.53"], domain: "attic.example", searchDomains: ["attic.example", "example"], router: undefined },
];

describe("a node is told what holds for its network", () => {
  it.each([
    ["the first, with its own address", "10.0.0.9", first],
    ["the first, when the manifest has no address for it", undefined, first],
    ["another interface's, with what is set there", "10.1.0.9", others],
    ["one behind a relay agent: what is not set there is the first's, but for the router", "10.2.0.9", relayed],
  ])("on %s", (_, address, expected) => {
    const result = parseManifest(TEXT, { fileExists: () => true });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    expect(networkOfNode(result.manifest, { ...(address && { address: parseIpv4(address) }) })).toEqual(expected);
  });
});
