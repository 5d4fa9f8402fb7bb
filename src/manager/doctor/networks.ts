/** The networks of a manifest, each with what can be seen of it: ports, other DHCP servers, spanning tree. */
import type { InterfaceFacts, NetworkFacts, NetworkWanted, RunningManager } from "../../cluster/doctor/facts.ts";
import { type Manifest, parseSubnet } from "../../cluster/manifest.ts";
import type { ManifestNetwork, OtherNetwork } from "../../cluster/manifest-network.ts";
import { interfaceAddresses } from "../../system/network-interfaces.ts";
import { type ServiceNetwork, serviceNetworks } from "../service-networks.ts";
import { type LanQuestion, listenToLan } from "./lan.ts";
import { look } from "./look.ts";
import { lookAtPorts } from "./ports.ts";

export interface Around {
  interfaces: readonly InterfaceFacts[];
  managers: readonly RunningManager[];
  asksNetwork: boolean;
}

/** Where the services would be, by the rules of the manager itself. Rejects with its words when that is unclear. */
export async function lookAtNetworks(manifest: Manifest, around: Around): Promise<NetworkFacts[]> {
  const { network } = manifest;
  const sections = [network, ...(network.others ?? []).filter((other) => other.interface !== undefined)];
  const networks = serviceNetworks(manifest);
  const ports: NetworkFacts["ports"][] = [];
  // One after another: two attempts at one port would be in each other's way.
  for (const each of networks) ports.push(await look(() => lookAtPorts(manifest, each, around.managers)));
  return Promise.all(
    networks.map(async (each, index): Promise<NetworkFacts> => {
      const { address, netmask } = each;
      const interfaceName = nameOf(each);
      const heard = await lookAtLan(manifest, interfaceName, around);
      const wanted = wantedOf(sections[index] ?? network);
      return { interfaceName, address, netmask, wanted, ports: ports[index]!, ...heard };
    }),
  );
}

/** A manifest that names no interface has an address that one has; or none, which is a finding. */
function nameOf({ interfaceName, address }: ServiceNetwork): string {
  return interfaceName ?? interfaceAddresses().find((each) => each.address === address)?.interfaceName ?? address;
}

function wantedOf({ address, router, subnet }: ManifestNetwork | OtherNetwork): NetworkWanted {
  const parsed = subnet === undefined ? undefined : parseSubnet(subnet);
  return {
    ...(address && { address }),
    ...(router && { router }),
    ...(parsed && subnet !== undefined && { subnet: { text: subnet, first: parsed.first, last: parsed.last } }),
  };
}

async function lookAtLan(
  manifest: Manifest,
  interfaceName: string,
  { asksNetwork, interfaces }: Around,
): Promise<Pick<NetworkFacts, "dhcp" | "spanningTree">> {
  const neither = (skipped: string) => ({ dhcp: { skipped }, spanningTree: { skipped } });
  if (!asksNetwork) return neither("--offline");
  const served = interfaces.find(({ name }) => name === interfaceName);
  if (!served?.mac || served.isLoopback) return neither(`${interfaceName} is no Ethernet`);
  if (!served.isUp || !served.hasCarrier) return neither(`${interfaceName} has no link`);
  const { mac } = served;
  const serverPort = manifest.network.ports.dhcp;
  const heard = await look(() => listenToLan({ interfaceName, mac, askAs: clientToAskAs(manifest), serverPort }));
  if (!("seen" in heard)) return neither(heard.skipped);
  return { dhcp: { seen: heard.seen.dhcp }, spanningTree: { seen: heard.seen.spanningTree } };
}

/** Where DHCP is somebody else's, that one must answer Pis: a node of the manifest, or else one that there is not. */
function clientToAskAs({ network, nodes }: Manifest): LanQuestion["askAs"] {
  if (network.dhcp !== "external") return "stranger";
  for (const { name, mac, serial } of nodes) if (mac) return { node: name, mac, ...(serial && { serial }) };
  return "pi";
}
