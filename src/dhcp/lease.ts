/**
 * A DHCP server for one network: RFC 2131 sections 4.3.1 (DISCOVER) to 4.3.5 (INFORM), authoritative.
 * Nodes get their reserved addresses and the options to boot with; everybody else a plain address from the range.
 * Left out: client identifiers as keys (see lease-table.ts), BOOTP clients, DNS updates, rapid commit.
 */
import { IPV4_ANY, type Ipv4 } from "../bytes/addresses.ts";
import { type LeasePolicy, LeaseTable, OFFER_MS } from "./lease-table.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { BROADCAST_FLAG, type DhcpPacket, makePacket } from "./packet.ts";
import type {
  DhcpClient,
  DhcpClientFacts,
  DhcpDecision,
  DhcpResponder,
  DhcpServerSettings,
  IgnoreCause,
  Lease,
} from "./policy.ts";
import { pxeOptions } from "./pxe.ts";

/** RFC 2131 section 3.3: this lease time means that the lease does not end. */
const INFINITE_LEASE_S = 0xffffffff;

/** One request with everything that is known about it. */
interface Exchange {
  request: DhcpPacket;
  facts: DhcpClientFacts;
  client: DhcpClient;
  reserved: Ipv4 | undefined;
  /** Option 82, if there is one: given back to the relay as it came (RFC 3046 section 2.2). */
  relayInformation: DhcpOption[];
  unixMs: number;
}

export function leaseResponder(
  settings: DhcpServerSettings,
  policy: LeasePolicy,
  saved: readonly Lease[],
): DhcpResponder {
  const leases = new LeaseTable(settings, policy, saved);

  function onDiscover(exchange: Exchange): DhcpDecision {
    const { facts, reserved, unixMs } = exchange;
    const address = leases.choose(facts.mac, reserved, facts.address, unixMs);
    if (!address) {
      return settings.range
        ? ignore("every address of the range is in use", "range-used-up")
        : ignore("no address is set aside for it", "nothing-set-aside");
    }
    leases.offer(facts.mac, address, unixMs, exchange.client.kind === "pi" ? OFFER_MS.firmware : OFFER_MS.usual);
    return { kind: "reply", reply: addressReply(settings, exchange, "OFFER", address) };
  }

  function onRequest(exchange: Exchange): DhcpDecision {
    const { request, facts, reserved, unixMs } = exchange;
    const chosenServer = readOption(request.options, OPTIONS.serverIdentifier);
    if (chosenServer && chosenServer !== settings.serverAddress) {
      leases.forgetOffer(facts.mac);
      return ignore(`it took the offer of ${chosenServer}`, "other-server");
    }
    // Firmware that names neither the server nor the address means our offer.
    const address = facts.address ?? leases.current(facts.mac, unixMs)?.address;
    if (!address) return ignore("it names no address, and none was offered to it");
    if (!leases.mayHold(facts.mac, address, reserved, unixMs)) {
      // RFC 2131 section 4.3.2: silence about a client and an address that may be another server's.
      const isOurs = settings.range || chosenServer || exchange.client.kind === "pi" || policy.isReserved(address);
      if (!isOurs) return ignore("no address is set aside for it");
      return { kind: "reply", reply: nakReply(settings, exchange, `${address} is not yours here`) };
    }
    const lease = leases.bind(facts.mac, address, unixMs, facts.hostName);
    return { kind: "reply", reply: addressReply(settings, exchange, "ACK", address), lease };
  }

  function onGivenBack(exchange: Exchange, how: "release" | "decline"): DhcpDecision {
    const { facts, client, unixMs } = exchange;
    if (client.kind === "pi" && how === "release") {
      return ignore("a node keeps its address: its kernel may still reach its root file system by it");
    }
    const lease = facts.address && leases[how](facts.mac, facts.address, unixMs);
    if (!lease) return ignore(`it does not hold ${facts.address ?? "an address"}`);
    const cause = how === "decline" ? ({ cause: "declined" } as const) : {};
    return { kind: "ignore", reason: `${how}d ${lease.address}; there is no answer to that`, ...cause, lease };
  }

  return (request, facts, client, unixMs) => {
    const reserved = client.kind === "pi" ? client.reservedAddress : undefined;
    const relayInformation = readRelayInformation(request);
    const exchange: Exchange = { request, facts, client, reserved, relayInformation, unixMs };
    switch (facts.message) {
      case "DISCOVER":
        return onDiscover(exchange);
      case "REQUEST":
        return onRequest(exchange);
      case "RELEASE":
        return onGivenBack(exchange, "release");
      case "DECLINE":
        return onGivenBack(exchange, "decline");
      case "INFORM":
        return { kind: "reply", reply: addressReply(settings, exchange, "ACK", undefined) };
      case "OFFER":
      case "ACK":
      case "NAK":
        return ignore(`a client does not send ${facts.message}`);
    }
  };
}

function ignore(reason: string, cause?: IgnoreCause): DhcpDecision {
  return { kind: "ignore", reason, ...(cause && { cause }) };
}

/** OFFER and ACK; without an address, the answer to INFORM (RFC 2131 section 4.3.5: no lease time, no `yiaddr`). */
function addressReply(
  settings: DhcpServerSettings,
  { request, client, relayInformation }: Exchange,
  message: MessageType,
  address: Ipv4 | undefined,
): DhcpPacket {
  const { serverAddress, subnetMask, routers, dnsServers, domainName, leaseTimeS } = settings;
  const options: DhcpOption[] = [
    makeOption(OPTIONS.messageType, message),
    makeOption(OPTIONS.serverIdentifier, serverAddress),
    ...(address ? [makeOption(OPTIONS.leaseTimeS, client.kind === "pi" ? INFINITE_LEASE_S : leaseTimeS)] : []),
    // Sent unasked: the Pi 3B boot ROM asks for neither and needs both.
    makeOption(OPTIONS.subnetMask, subnetMask),
    ...(routers.length > 0 ? [makeOption(OPTIONS.routers, routers)] : []),
    ...(dnsServers.length > 0 ? [makeOption(OPTIONS.dnsServers, dnsServers)] : []),
    ...(domainName ? [makeOption(OPTIONS.domainName, domainName)] : []),
    // In the ACK too, and whatever the REQUEST holds: bootloaders of January 2020 leave option 60 out of it.
    ...(client.kind === "pi" ? pxeOptions(request.options, serverAddress) : []),
    ...relayInformation,
  ];
  return makePacket({
    ...replyFields(request),
    clientAddress: message === "ACK" ? request.clientAddress : IPV4_ANY,
    yourAddress: address ?? IPV4_ANY,
    nextServer: client.kind === "pi" ? serverAddress : IPV4_ANY,
    options,
  });
}

function nakReply(settings: DhcpServerSettings, { request, relayInformation }: Exchange, why: string): DhcpPacket {
  return makePacket({
    ...replyFields(request),
    // RFC 2131 section 4.3.2: a relay must broadcast a NAK, for the client has no right to its address.
    flags: request.flags | BROADCAST_FLAG,
    options: [
      makeOption(OPTIONS.messageType, "NAK"),
      makeOption(OPTIONS.serverIdentifier, settings.serverAddress),
      makeOption(OPTIONS.message, why),
      ...relayInformation,
    ],
  });
}

function replyFields(request: DhcpPacket) {
  const { transactionId, mac, flags, relayAddress } = request;
  return { op: "reply", transactionId, mac, flags, relayAddress } as const;
}

function readRelayInformation(request: DhcpPacket): DhcpOption[] {
  const value = readOption(request.options, OPTIONS.relayAgentInformation);
  return value ? [makeOption(OPTIONS.relayAgentInformation, value)] : [];
}
