/**
 * The options of an OFFER or ACK that gives an address, and of the answer to INFORM: RFC 2131 table 3, RFC 6842 (61 is
 * given back), RFC 3046 section 2.2 (82 is given back). Subnet mask, routers, name servers and the domain go to everybody;
 * the others to clients that ask for them (option 55), and to those that do not say what they want.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import type { DhcpPacket } from "./packet.ts";
import type { DhcpClient, DhcpSubnet } from "./policy.ts";
import { otherBootProgram, pxeOptions } from "./pxe.ts";

/** RFC 2131 section 3.3: this lease time means that the lease does not end. */
const INFINITE_LEASE_S = 0xffffffff;

/** RFC 2131 section 2: what every client takes, if it does not say more (option 57), with the headers of IP and UDP. */
const DATAGRAM_BYTES_MIN = 576;
/** Larger ones would be fragmented, and firmware does not put fragments together. */
const DATAGRAM_BYTES_MAX = 1500;
const IP_UDP_HEADER_BYTES = 28;
/** The fixed header, and the end option. */
const EMPTY_PACKET_BYTES = 241;
const OPTION_HEADER_BYTES = 2;
const FRAGMENT_BYTES_MAX = 255;

export function leaseOptions(
  subnet: DhcpSubnet,
  request: DhcpPacket,
  client: DhcpClient,
  message: MessageType,
  address: Ipv4 | undefined,
): DhcpOption[] {
  const { serverAddress, subnetMask, routers, dnsServers, domainName, leaseTimeS } = subnet;
  const always: DhcpOption[] = [
    makeOption(OPTIONS.messageType, message),
    makeOption(OPTIONS.serverIdentifier, serverAddress),
    ...(address ? [makeOption(OPTIONS.leaseTimeS, client.kind === "pi" ? INFINITE_LEASE_S : leaseTimeS)] : []),
    // Sent unasked: the Pi 3B boot ROM asks for neither and needs both.
    makeOption(OPTIONS.subnetMask, subnetMask),
    ...(routers.length > 0 ? [makeOption(OPTIONS.routers, routers)] : []),
    ...(dnsServers.length > 0 ? [makeOption(OPTIONS.dnsServers, dnsServers)] : []),
    ...(domainName ? [makeOption(OPTIONS.domainName, domainName)] : []),
    // In the ACK too, and whatever the REQUEST holds: bootloaders of January 2020 leave option 60 out of it.
    ...(client.kind === "pi" && otherBootProgram(request.options) === undefined
      ? pxeOptions(request, serverAddress, client.needs)
      : []),
  ];
  const givenBack = givenBackOptions(request);
  const taken = new Set(always.map(({ code }) => code));
  const wished = wishedOptions(subnet, request).filter(({ code }) => !taken.has(code));
  return [...always, ...fitting(wished, request, [...always, ...givenBack]), ...givenBack];
}

/** What the client and the relay agent want to have back as it came. The relay agent's is written last. */
export function givenBackOptions({ options }: DhcpPacket): DhcpOption[] {
  return [OPTIONS.clientIdentifier, OPTIONS.relayAgentInformation].flatMap((option) => {
    const value = readOption(options, option);
    return value ? [makeOption(option, value)] : [];
  });
}

function wishedOptions(subnet: DhcpSubnet, { options }: DhcpPacket): DhcpOption[] {
  const { mtuBytes, ntpServers = [], searchDomains = [], extraOptions = [] } = subnet;
  const asked = readOption(options, OPTIONS.parameterRequestList);
  const given = [
    ...(mtuBytes !== undefined ? [makeOption(OPTIONS.interfaceMtu, mtuBytes)] : []),
    ...(ntpServers.length > 0 ? [makeOption(OPTIONS.ntpServers, ntpServers)] : []),
    ...(searchDomains.length > 0 ? [makeOption(OPTIONS.domainSearch, searchDomains)] : []),
    ...extraOptions,
  ];
  return asked ? given.filter(({ code }) => asked.includes(code)) : given;
}

/** Those of the wished that still have room beside the others, in their order. */
function fitting(wished: readonly DhcpOption[], { options }: DhcpPacket, others: readonly DhcpOption[]): DhcpOption[] {
  const clientBytesMax = readOption(options, OPTIONS.maximumMessageBytes) ?? DATAGRAM_BYTES_MIN;
  const datagramBytes = Math.min(Math.max(clientBytesMax, DATAGRAM_BYTES_MIN), DATAGRAM_BYTES_MAX);
  let room = datagramBytes - IP_UDP_HEADER_BYTES - EMPTY_PACKET_BYTES;
  for (const option of others) room -= writtenBytes(option);
  return wished.filter((option) => {
    if (writtenBytes(option) > room) return false;
    room -= writtenBytes(option);
    return true;
  });
}

function writtenBytes({ value }: DhcpOption): number {
  return value.length + OPTION_HEADER_BYTES * Math.max(1, Math.ceil(value.length / FRAGMENT_BYTES_MAX));
}
