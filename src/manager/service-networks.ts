/** Where the services are reachable: the manifest's networks, as this machine's interfaces have them. */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import { type Manifest, parseSubnet } from "../cluster/manifest.ts";
import type { UdpBinding } from "../ports.ts";
import { addressOfInterface, type InterfaceAddress, interfaceAddresses } from "../system/network-interfaces.ts";

/** One interface, one address. */
export interface ServiceNetwork {
  /** Absent: bound to the address only, as on loopback. */
  interfaceName?: string;
  address: Ipv4;
  netmask: Ipv4;
}

/** The first of them. Throws when neither manifest nor interfaces say where the Pis are. */
export function serviceNetwork({ network }: Pick<Manifest, "network">): ServiceNetwork {
  const own = ownAddress(network.interface, network.address);
  return {
    ...(network.interface !== undefined && { interfaceName: network.interface }),
    address: network.address ?? own.address,
    netmask: netmaskOf(network.subnet) ?? own.netmask,
  };
}

/** The first, and the others that have an interface of this machine, in the manifest's order. Throws as `serviceNetwork`. */
export function serviceNetworks(manifest: Pick<Manifest, "network">): ServiceNetwork[] {
  const others = (manifest.network.others ?? []).flatMap((other) => {
    const { interface: interfaceName, subnet } = other;
    if (interfaceName === undefined) return [];
    const own = addressOfInterface(interfaceName);
    return [{ interfaceName, address: other.address ?? own.address, netmask: netmaskOf(subnet) ?? own.netmask }];
  });
  return [serviceNetwork(manifest), ...others];
}

/** By which of our addresses a node reaches us: a node of the first network need not have an address in the manifest. */
export function serverAddressFor(networks: readonly ServiceNetwork[], { address }: { address?: Ipv4 }): Ipv4 {
  const home = address === undefined ? undefined : networkOf(networks, address);
  return (home ?? networks[0]!).address;
}

/** The one that an address is on; `undefined` behind a router. */
export function networkOf<Network extends ServiceNetwork>(
  networks: readonly Network[],
  address: Ipv4,
): Network | undefined {
  return networks.find((network) => isOn(network, address));
}

/** The interface that Pis are on. None where there is only an address, nor on loopback, where tests and QEMU's own network are. */
export function lanInterface({ interfaceName }: ServiceNetwork): string | undefined {
  return interfaceName === "lo" ? undefined : interfaceName;
}

/** With an interface, broadcasts must be heard, so any address of it; without one, our address only. */
export function bindingOf(network: ServiceNetwork): Omit<UdpBinding, "port"> {
  return network.interfaceName === undefined
    ? { address: network.address }
    : { address: "0.0.0.0" as Ipv4, interfaceName: network.interfaceName };
}

/** For sockets that answer on all of the networks, from the address that was asked. */
export function bindingOfAll(networks: readonly ServiceNetwork[]): Omit<UdpBinding, "port"> {
  return networks.length === 1 ? bindingOf(networks[0]!) : { address: "0.0.0.0" as Ipv4 };
}

function ownAddress(interfaceName: string | undefined, address: Ipv4 | undefined): InterfaceAddress {
  if (interfaceName !== undefined) return addressOfInterface(interfaceName);
  const all = interfaceAddresses();
  const candidates = all.filter((each) => (address ? each.address === address : each.interfaceName !== "lo"));
  const [first, ...others] = candidates;
  if (first && others.length === 0) return first;
  const names = all.map((each) => `${each.interfaceName} (${each.address})`).join(", ");
  throw new Error(
    address
      ? `Cannot serve on ${address}: no interface has that address; there are ${names}`
      : `Cannot tell which network the Pis are on: set network.interface in the manifest to one of ${names}`,
  );
}

function isOn(network: ServiceNetwork, address: Ipv4): boolean {
  const mask = ipv4ToNumber(network.netmask);
  return (ipv4ToNumber(network.address) & mask) === (ipv4ToNumber(address) & mask);
}

/** `undefined` without a network. */
export function netmaskOf(subnet: string | undefined): Ipv4 | undefined {
  const parsed = subnet === undefined ? undefined : parseSubnet(subnet);
  return parsed && ipv4FromNumber((0xffffffff << (32 - parsed.prefixBits)) >>> 0);
}
