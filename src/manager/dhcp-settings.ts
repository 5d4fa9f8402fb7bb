/** What the manifest says of DHCP, as the DHCP service takes it. */
import { type Ipv4, ipv4FromNumber } from "../bytes/addresses.ts";
import { type Manifest, parseSubnet } from "../cluster/manifest.ts";
import type { ManifestDhcpOption, ManifestNetwork, OtherNetwork } from "../cluster/manifest-network.ts";
import { encodeDomainNames } from "../dhcp/domain-search.ts";
import { addressesValue, type DhcpOption, unsignedValue } from "../dhcp/options.ts";
import type { AddressRange, DhcpSettings, DhcpSubnet } from "../dhcp/policy.ts";
import type { DhcpNetwork } from "../dhcp/server.ts";
import { netmaskOf, type ServiceNetwork } from "./service-networks.ts";

const LEASE_TIME_S = 12 * 60 * 60;

/**
 * One for each of our networks, in their order. Networks behind relay agents are with the first. `taken` are addresses that
 * nobody is given: all of this machine's, for it does not answer its own ARP.
 */
export function dhcpNetworks(
  { network }: Pick<Manifest, "network">,
  ours: readonly ServiceNetwork[],
  taken: readonly Ipv4[] = [],
): DhcpNetwork[] {
  const others = network.others ?? [];
  const serverAddress = ours[0]!.address;
  const relayed = others
    .filter((other) => other.interface === undefined)
    .map((other) => relayedSubnet(network, other, serverAddress));
  const sections = [network, ...others.filter((other) => other.interface !== undefined)];
  return ours.map(({ interfaceName, address, netmask }, index) => ({
    ...(interfaceName !== undefined && { interfaceName }),
    settings: settingsOf(network, {
      ...withoutTaken(subnetOf(network, sections[index]!, address, netmask), taken),
      ...(index === 0 && relayed.length > 0 && { relayed }),
    }),
  }));
}

function withoutTaken(subnet: DhcpSubnet, taken: readonly Ipv4[]): DhcpSubnet {
  if (taken.length === 0) return subnet;
  return { ...subnet, excluded: [...(subnet.excluded ?? []), ...taken.map(rangeOf)] };
}

function settingsOf({ dhcp }: ManifestNetwork, subnet: DhcpSubnet & { relayed?: readonly DhcpSubnet[] }): DhcpSettings {
  const { serverAddress } = subnet;
  return dhcp === "server" ? { mode: dhcp, ...subnet } : { mode: dhcp, serverAddress };
}

function relayedSubnet(first: ManifestNetwork, other: OtherNetwork, serverAddress: Ipv4): DhcpSubnet {
  const network = ipv4FromNumber(parseSubnet(other.subnet)!.first);
  return { ...subnetOf(first, other, other.address ?? serverAddress, netmaskOf(other.subnet)!), network };
}

function subnetOf(
  first: ManifestNetwork,
  section: ManifestNetwork | OtherNetwork,
  serverAddress: Ipv4,
  subnetMask: Ipv4,
): DhcpSubnet {
  const { range, exclude, router, mtu, options, reservations } = section;
  const domainName = section.domain ?? first.domain;
  const ntpServers = section.ntp ?? first.ntp;
  const searchDomains = section.search ?? first.search;
  return {
    serverAddress,
    subnetMask,
    routers: router ? [router] : [],
    dnsServers: section.dns ?? first.dns,
    leaseTimeS: section.leaseTime ?? first.leaseTime ?? LEASE_TIME_S,
    ...(domainName !== undefined && { domainName }),
    ...(ntpServers && { ntpServers }),
    ...(searchDomains && { searchDomains }),
    ...(mtu !== undefined && { mtuBytes: mtu }),
    ...(options && { extraOptions: Object.entries(options).map(([code, value]) => dhcpOption(Number(code), value)) }),
    ...(range && { range: rangeOf(range) }),
    ...(exclude && { excluded: exclude.map(rangeOf) }),
    ...(reservations && { reservations: new Map(reservations.map(({ mac, address }) => [mac, address])) }),
  };
}

function rangeOf(range: Ipv4 | { from: Ipv4; to: Ipv4 }): AddressRange {
  return typeof range === "string" ? { first: range, last: range } : { first: range.from, last: range.to };
}

function dhcpOption(code: number, value: ManifestDhcpOption): DhcpOption {
  if ("text" in value) return { code, value: Buffer.from(value.text, "latin1") };
  if ("addresses" in value) return { code, value: addressesValue(value.addresses) };
  if ("names" in value) return { code, value: encodeDomainNames(value.names) };
  if ("u8" in value) return { code, value: unsignedValue(value.u8, 1) };
  if ("u16" in value) return { code, value: unsignedValue(value.u16, 2) };
  if ("u32" in value) return { code, value: unsignedValue(value.u32, 4) };
  return { code, value: Buffer.from(value.hex.replace(/[ :]/g, ""), "hex") };
}
