/** Which of the manifest's networks a node is on, and what it is told there. */
import { type Ipv4, ipv4ToNumber } from "../bytes/addresses.ts";
import { parseSubnet } from "./manifest-plain.ts";
import type { Manifest, ManifestNode } from "./manifest-schema.ts";

export interface NodeNetwork {
  dns: readonly Ipv4[];
  /** Where names are looked up, the node's own domain first. */
  searchDomains: readonly string[];
  domain: string | undefined;
  router: Ipv4 | undefined;
}

/** A node without an address in the manifest is on the first network. */
export function networkOfNode(
  { network }: Pick<Manifest, "network">,
  { address }: Pick<ManifestNode, "address">,
): NodeNetwork {
  const home = (network.others ?? []).find(({ subnet }) => address !== undefined && holds(subnet, address)) ?? network;
  const domain = home.domain ?? network.domain;
  const search = home.search ?? network.search ?? [];
  return {
    dns: home.dns ?? network.dns,
    domain,
    searchDomains: [...new Set([...(domain === undefined ? [] : [domain]), ...search])],
    router: home.router,
  };
}

function holds(subnet: string, address: Ipv4): boolean {
  const span = parseSubnet(subnet);
  const at = ipv4ToNumber(address);
  return span !== undefined && at >= span.first && at <= span.last;
}
