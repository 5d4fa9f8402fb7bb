/** What a DHCP datagram goes through: to a packet, to options, to an answer. */
import { type Ipv4, parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import { decodeDomainNames, encodeDomainNames } from "../../src/dhcp/domain-search.ts";
import { leaseResponder } from "../../src/dhcp/lease.ts";
import {
  type DhcpOption,
  MESSAGE_TYPES,
  type MessageType,
  makeOption,
  OPTIONS,
  readOption,
} from "../../src/dhcp/options.ts";
import { readOtherServer } from "../../src/dhcp/other-server.ts";
import { decodePacket, encodePacket, makePacket, printPacket } from "../../src/dhcp/packet.ts";
import { readClientFacts } from "../../src/dhcp/policy.ts";
import { proxyResponder } from "../../src/dhcp/proxy.ts";
import { linkOf } from "../../src/dhcp/relay-agent.ts";
import { decodeOption97 } from "../../src/pi/option97.ts";
import { type FuzzedDecoder, hex } from "./fuzzed-decoder.ts";

const MAC = parseMac("dc:a6:32:2e:f8:ed");
const SERVER = parseIpv4("10.0.0.1");

const PI_OPTIONS: DhcpOption[] = [
  makeOption(OPTIONS.parameterRequestList, hex("01032b3c42438081828384858687")),
  makeOption(OPTIONS.clientArchitecture, hex("0000")),
  makeOption(OPTIONS.clientInterface, hex("010201")),
  makeOption(OPTIONS.clientGuid, hex("00525069341131a000322ef8ed1045155b")),
  makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"),
];
/** As Linux clients send them, through a relay agent. */
const LINUX_OPTIONS: DhcpOption[] = [
  makeOption(OPTIONS.parameterRequestList, hex("011c02030f06770c2c2f1a792a")),
  makeOption(OPTIONS.clientIdentifier, hex("ff322ef8ed00010001")),
  makeOption(OPTIONS.hostName, "pi"),
  makeOption(OPTIONS.requestedAddress, parseIpv4("10.0.0.100")),
  makeOption(OPTIONS.maximumMessageBytes, 1500),
  makeOption(OPTIONS.relayAgentInformation, hex("0103616263 0504 0a000000")),
];
const SERVER_OPTIONS: DhcpOption[] = [
  makeOption(OPTIONS.serverIdentifier, SERVER),
  makeOption(OPTIONS.subnetMask, parseIpv4("255.255.255.0")),
  makeOption(OPTIONS.dnsServers, [SERVER, SERVER]),
  makeOption(OPTIONS.domainSearch, ["attic.example", "example"]),
  makeOption(OPTIONS.vendorSpecific, hex("0601030a0400505845091400001152617370626572727920506920426f6f74ff")),
  makeOption(OPTIONS.tftpServerName, "10.0.0.1"),
];

function packet(op: "request" | "reply", message: MessageType, options: DhcpOption[], relayAddress?: Ipv4): Uint8Array {
  const all = [makeOption(OPTIONS.messageType, message), ...options];
  return encodePacket(
    makePacket({ op, transactionId: 0x26f30339, mac: MAC, options: all, ...(relayAddress && { relayAddress }) }),
  );
}

/** Options in all three fields that can hold them. */
function overloaded(): Uint8Array {
  const bytes = Buffer.from(packet("request", "DISCOVER", [...PI_OPTIONS, makeOption(OPTIONS.overload, 3)]));
  bytes.set(hex("3604c0000201ff"), 108);
  bytes.set(hex("0c026869ff"), 44);
  return bytes;
}

const REQUESTS = [
  ...(Object.keys(MESSAGE_TYPES) as MessageType[]).flatMap((message) => [
    packet("request", message, PI_OPTIONS),
    packet("request", message, LINUX_OPTIONS, parseIpv4("10.0.0.9")),
  ]),
  overloaded(),
];
/** Of a server, for what reads answers. */
export const REPLIES = (["OFFER", "ACK", "NAK"] as const).map((message) => packet("reply", message, SERVER_OPTIONS));

/** As the service does: to facts, to a decision, and to the answer's bytes, which must be readable. */
function answer(bytes: Uint8Array, respond: ReturnType<typeof proxyResponder>): void {
  const request = decodePacket(bytes);
  const message = readOption(request.options, OPTIONS.messageType);
  if (!message) return;
  const facts = readClientFacts(request, message);
  for (const client of [{ kind: "pi", node: "node1" } as const, { kind: "other" } as const]) {
    const decision = respond(request, facts, client, 1_700_000_000_000);
    if (decision.kind === "reply") decodePacket(encodePacket(decision.reply));
  }
}

const leases = leaseResponder(
  {
    mode: "server",
    serverAddress: SERVER,
    subnetMask: parseIpv4("255.255.255.0"),
    routers: [SERVER],
    dnsServers: [SERVER],
    leaseTimeS: 600,
    range: { first: parseIpv4("10.0.0.100"), last: parseIpv4("10.0.0.200") },
    searchDomains: ["attic.example"],
    ntpServers: [SERVER],
    mtuBytes: 1500,
  },
  { isReserved: () => false, isNode: () => false },
  [],
);
const proxy = proxyResponder({ mode: "proxy", serverAddress: SERVER });

export const DHCP_DECODERS: readonly FuzzedDecoder[] = [
  { name: "the DHCP packet", corpus: [...REQUESTS, ...REPLIES], decode: (bytes) => printPacket(decodePacket(bytes)) },
  {
    name: "each DHCP option",
    corpus: [...REQUESTS, ...REPLIES],
    decode: (bytes) => {
      const { options } = decodePacket(bytes);
      for (const option of Object.values(OPTIONS)) readOption<unknown>(options, option as never);
    },
  },
  { name: "the DHCP server's answer", corpus: REQUESTS, decode: (bytes) => answer(bytes, leases) },
  { name: "the DHCP proxy's answer", corpus: REQUESTS, decode: (bytes) => answer(bytes, proxy) },
  {
    name: "another DHCP server's answer",
    corpus: REPLIES,
    decode: (bytes) => readOtherServer(decodePacket(bytes), SERVER),
  },
  { name: "the relay agent's network", corpus: REQUESTS, decode: (bytes) => linkOf(decodePacket(bytes)) },
  {
    name: "the client GUID",
    corpus: REQUESTS,
    decode: (bytes) => {
      const guid = readOption(decodePacket(bytes).options, OPTIONS.clientGuid);
      return guid && decodeOption97(guid);
    },
  },
  {
    name: "the domain search list",
    corpus: [encodeDomainNames(["eng.apple.com", "marketing.apple.com"]), encodeDomainNames(["a.b.c", "b.c", "c"])],
    decode: (bytes) => decodeDomainNames(bytes, "domain search list"),
  },
];
