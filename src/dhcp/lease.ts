/**
 * A DHCP server: RFC 2131 sections 4.3.1 (DISCOVER) to 4.3.5 (INFORM), authoritative on each of its networks. Nodes get
 * their reserved addresses and the options to boot with; everybody else a plain address from the range.
 * Left out: client identifiers as keys (see lease-table.ts), BOOTP clients, DNS updates, rapid commit.
 */
import { IPV4_ANY, type Ipv4, ipv4ToNumber, type Mac } from "../bytes/addresses.ts";
import { givenBackOptions, leaseOptions } from "./lease-options.ts";
import { type LeaseClient, type LeasePolicy, LeaseTable, networkOf, OFFER_MS } from "./lease-table.ts";
import { type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { BROADCAST_FLAG, type DhcpPacket, makePacket } from "./packet.ts";
import type {
  AddressCheck,
  DhcpClient,
  DhcpClientFacts,
  DhcpDecision,
  DhcpResponder,
  DhcpServerSettings,
  DhcpSubnet,
  IgnoreCause,
  Lease,
} from "./policy.ts";
import { linkOf } from "./relay-agent.ts";

/** One request with everything that is known about it. */
interface Exchange {
  request: DhcpPacket;
  facts: DhcpClientFacts;
  client: DhcpClient;
  reserved: Ipv4 | undefined;
  unixMs: number;
}

export function leaseResponder(
  settings: DhcpServerSettings,
  policy: LeasePolicy,
  saved: readonly Lease[],
): DhcpResponder {
  return leaseResponders([settings], policy, saved)[0]!;
}

/** One for each of the settings, which are those of our interfaces. Relayed networks belong to all of them. */
export function leaseResponders(
  all: readonly DhcpServerSettings[],
  policy: LeasePolicy,
  saved: readonly Lease[],
): DhcpResponder[] {
  const direct = all.map((subnet) => new LeaseNetwork(subnet, policy, saved));
  const relayed = all.flatMap(({ relayed = [] }) => relayed.map((subnet) => new LeaseNetwork(subnet, policy, saved)));
  const networks = [...direct, ...relayed];
  return direct.map((own) => (request, facts, client, unixMs) => {
    const link = linkOf(request);
    const network = link
      ? networks.find((candidate) => candidate.holds(link))
      : // A client behind a relay agent renews with us directly, without it.
        (relayed.find((candidate) => candidate.holds(request.clientAddress)) ?? own);
    if (!network) return ignore(`no network of ours holds ${link}, the address of its relay agent`, "unknown-relay");
    return network.respond(request, facts, client, unixMs);
  });
}

class LeaseNetwork {
  readonly #subnet: DhcpSubnet;
  readonly #policy: LeasePolicy;
  readonly #leases: LeaseTable;
  readonly #span: { first: number; last: number };

  constructor(subnet: DhcpSubnet, policy: LeasePolicy, saved: readonly Lease[]) {
    this.#subnet = subnet;
    this.#policy = policy;
    this.#leases = new LeaseTable(subnet, policy, saved);
    this.#span = networkOf(subnet);
  }

  holds(address: Ipv4): boolean {
    const value = ipv4ToNumber(address);
    return value >= this.#span.first && value <= this.#span.last;
  }

  respond(request: DhcpPacket, facts: DhcpClientFacts, client: DhcpClient, unixMs: number): DhcpDecision {
    const reserved = client.kind === "pi" ? client.reservedAddress : this.#subnet.reservations?.get(facts.mac);
    const exchange: Exchange = { request, facts, client, reserved, unixMs };
    switch (facts.message) {
      case "DISCOVER":
        return this.#onDiscover(exchange);
      case "REQUEST":
        return this.#onRequest(exchange);
      case "RELEASE":
        return this.#onGivenBack(exchange, "release");
      case "DECLINE":
        return this.#onGivenBack(exchange, "decline");
      case "INFORM":
        return { kind: "reply", reply: addressReply(this.#subnet, exchange, "ACK", undefined) };
      case "OFFER":
      case "ACK":
      case "NAK":
        return ignore(`a client does not send ${facts.message}`);
    }
  }

  #onDiscover(exchange: Exchange): DhcpDecision {
    const { request, facts, client, reserved, unixMs } = exchange;
    const who = leaseClient(exchange);
    const held = this.#leases.current(who.mac, unixMs);
    const address = this.#leases.choose(who, reserved, facts.address, unixMs);
    if (!address) {
      return this.#subnet.range
        ? ignore("every address of the range is in use", "range-used-up")
        : ignore("no address is set aside for it", "nothing-set-aside");
    }
    const isFirmware = client.kind === "pi";
    const lease = this.#leases.offer(who, address, unixMs, isFirmware ? OFFER_MS.firmware : OFFER_MS.usual);
    const isReserved = address === reserved;
    const isItsOwn = held?.state === "bound" && held.address === address;
    return {
      kind: "reply",
      reply: addressReply(this.#subnet, exchange, "OFFER", address),
      // Firmware may boot on the bare offer: after a crash of ours, nobody else must be given the address.
      ...(isFirmware && !isReserved && lease.state === "offered" && { lease }),
      // ARP does not reach beyond a relay agent.
      ...(!isItsOwn && request.relayAddress === IPV4_ANY && { check: this.#check(exchange, address) }),
    };
  }

  #check(exchange: Exchange, address: Ipv4): AddressCheck {
    const inUse = (_holder: Mac, unixMs: number) => {
      this.#leases.withdraw(exchange.facts.mac, address, unixMs);
      return this.#onDiscover({ ...exchange, unixMs });
    };
    return { address, isReserved: address === exchange.reserved, inUse };
  }

  #onRequest(exchange: Exchange): DhcpDecision {
    const { request, facts, reserved, unixMs } = exchange;
    const { serverAddress, range } = this.#subnet;
    const chosenServer = readOption(request.options, OPTIONS.serverIdentifier);
    if (chosenServer && chosenServer !== serverAddress) {
      this.#leases.forgetOffer(facts.mac);
      return ignore(`it took the offer of ${chosenServer}`, "other-server");
    }
    // Firmware that names neither the server nor the address means our offer.
    const address = facts.address ?? this.#leases.current(facts.mac, unixMs)?.address;
    if (!address) return ignore("it names no address, and none was offered to it");
    const who = leaseClient(exchange);
    if (!this.#leases.mayHold(who, address, reserved, unixMs)) {
      // RFC 2131 section 4.3.2: silence about a client and an address that may be another server's.
      const isOurs = range || chosenServer || exchange.client.kind === "pi" || this.#policy.isReserved(address);
      if (!isOurs) return ignore("no address is set aside for it");
      return { kind: "reply", reply: nakReply(this.#subnet, exchange, `${address} is not yours here`) };
    }
    const lease = this.#leases.bind(who, address, unixMs, facts.hostName);
    return { kind: "reply", reply: addressReply(this.#subnet, exchange, "ACK", address), lease };
  }

  #onGivenBack(exchange: Exchange, how: "release" | "decline"): DhcpDecision {
    const { facts, client, unixMs } = exchange;
    if (client.kind === "pi" && how === "release") {
      return ignore("a node keeps its address: its kernel may still reach its root file system by it");
    }
    const lease = facts.address && this.#leases[how](facts.mac, facts.address, unixMs);
    if (!lease) return ignore(`it does not hold ${facts.address ?? "an address"}`);
    const cause = how === "decline" ? ({ cause: "declined" } as const) : {};
    return { kind: "ignore", reason: `${how}d ${lease.address}; there is no answer to that`, ...cause, lease };
  }
}

function leaseClient({ facts: { mac }, client }: Exchange): LeaseClient {
  return { mac, ...(client.kind === "pi" && { node: client.node }) };
}

function ignore(reason: string, cause?: IgnoreCause): DhcpDecision {
  return { kind: "ignore", reason, ...(cause && { cause }) };
}

/** OFFER and ACK; without an address, the answer to INFORM (RFC 2131 section 4.3.5: no lease time, no `yiaddr`). */
function addressReply(
  subnet: DhcpSubnet,
  { request, client }: Exchange,
  message: MessageType,
  address: Ipv4 | undefined,
): DhcpPacket {
  return makePacket({
    ...replyFields(request),
    clientAddress: message === "ACK" ? request.clientAddress : IPV4_ANY,
    yourAddress: address ?? IPV4_ANY,
    nextServer: client.kind === "pi" ? subnet.serverAddress : IPV4_ANY,
    options: leaseOptions(subnet, request, client, message, address),
  });
}

function nakReply({ serverAddress }: DhcpSubnet, { request }: Exchange, why: string): DhcpPacket {
  return makePacket({
    ...replyFields(request),
    // RFC 2131 section 4.3.2: a relay must broadcast a NAK, for the client has no right to its address.
    flags: request.flags | BROADCAST_FLAG,
    options: [
      makeOption(OPTIONS.messageType, "NAK"),
      makeOption(OPTIONS.serverIdentifier, serverAddress),
      makeOption(OPTIONS.message, why),
      ...givenBackOptions(request),
    ],
  });
}

function replyFields(request: DhcpPacket) {
  const { transactionId, mac, flags, relayAddress } = request;
  return { op: "reply", transactionId, mac, flags, relayAddress } as const;
}
