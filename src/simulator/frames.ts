/**
 * Ethernet II, ARP, IPv4 and UDP as the boot loaders of Raspberry Pis speak them.
 *
 * RFC 894 (Ethernet), RFC 826 (ARP), RFC 791 (IPv4), RFC 768 (UDP), RFC 1071 (checksum).
 * Left out on purpose, because the boot loader leaves it out: fragments, IP options in what is sent, VLAN tags, IPv6.
 */
import { type Ipv4, ipv4FromBytes, ipv4ToBytes, type Mac, macFromBytes, macToBytes } from "../bytes/addresses.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";

export const MAC_BROADCAST = "ff:ff:ff:ff:ff:ff" as Mac;

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806 } as const;
const ETHERNET_HEADER_BYTES = 14;
const ARP_ETHERNET = 1;
const ARP_OPERATION = { request: 1, reply: 2 } as const;
const ARP_BYTES = 28;
const IPV4_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const PROTOCOL_UDP = 17;
const MORE_FRAGMENTS_OR_OFFSET = 0x3fff;

export interface ArpMessage {
  kind: "arp";
  operation: "request" | "reply";
  senderMac: Mac;
  senderAddress: Ipv4;
  targetMac: Mac;
  targetAddress: Ipv4;
}

export interface UdpMessage {
  kind: "udp";
  sourceMac: Mac;
  from: { address: Ipv4; port: number };
  to: { address: Ipv4; port: number };
  bytes: Uint8Array;
}

export type Frame = { destination: Mac; source: Mac } & (ArpMessage | UdpMessage | { kind: "other"; why: string });

/** RFC 1071: the complement of the one's complement sum of 16-bit words. 0 over data that carries its checksum. */
export function internetChecksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) sum += ((part[at] ?? 0) << 8) | (part[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function pseudoHeader(from: Ipv4, to: Ipv4, udpBytes: number): Uint8Array {
  return new Writer(12).bytes(ipv4ToBytes(from)).bytes(ipv4ToBytes(to)).u16(PROTOCOL_UDP).u16(udpBytes).finish();
}

function ethernet(destination: Mac, source: Mac, etherType: number, payloadBytes: number): Writer {
  return new Writer(ETHERNET_HEADER_BYTES + payloadBytes)
    .bytes(macToBytes(destination))
    .bytes(macToBytes(source))
    .u16(etherType);
}

export function encodeArp(message: Omit<ArpMessage, "kind">, destination: Mac): Uint8Array {
  return ethernet(destination, message.senderMac, ETHERTYPE.arp, ARP_BYTES)
    .u16(ARP_ETHERNET)
    .u16(ETHERTYPE.ipv4)
    .u8(6)
    .u8(4)
    .u16(ARP_OPERATION[message.operation])
    .bytes(macToBytes(message.senderMac))
    .bytes(ipv4ToBytes(message.senderAddress))
    .bytes(macToBytes(message.targetMac))
    .bytes(ipv4ToBytes(message.targetAddress))
    .finish();
}

export interface UdpHeaders {
  timeToLive: number;
  hasUdpChecksum: boolean;
}

/** What captures of Pis show; the identification is 0. */
const PI_HEADERS: UdpHeaders = { timeToLive: 128, hasUdpChecksum: false };

export function encodeUdp(
  message: Omit<UdpMessage, "kind">,
  destination: Mac,
  { timeToLive, hasUdpChecksum }: UdpHeaders = PI_HEADERS,
): Uint8Array {
  const udpBytes = UDP_HEADER_BYTES + message.bytes.length;
  const ipHeader = new Writer(IPV4_HEADER_BYTES)
    .u8(0x45)
    .u8(0)
    .u16(IPV4_HEADER_BYTES + udpBytes)
    .u32(0)
    .u8(timeToLive)
    .u8(PROTOCOL_UDP)
    .u16(0)
    .bytes(ipv4ToBytes(message.from.address))
    .bytes(ipv4ToBytes(message.to.address))
    .finish();
  const checksum = internetChecksum(ipHeader);
  ipHeader.set([checksum >>> 8, checksum & 0xff], 10);
  const datagram = new Writer(udpBytes)
    .u16(message.from.port)
    .u16(message.to.port)
    .u16(udpBytes)
    .u16(0)
    .bytes(message.bytes)
    .finish();
  if (hasUdpChecksum) {
    const sum = internetChecksum(pseudoHeader(message.from.address, message.to.address, udpBytes), datagram);
    // RFC 768: a sum of 0 is sent as ffff, for 0 says that there is none.
    datagram.set(sum === 0 ? [0xff, 0xff] : [sum >>> 8, sum & 0xff], 6);
  }
  return ethernet(destination, message.sourceMac, ETHERTYPE.ipv4, IPV4_HEADER_BYTES + udpBytes)
    .bytes(ipHeader)
    .bytes(datagram)
    .finish();
}

/** Frames that are none of a boot loader's business come back as `other`; broken ones throw `DecodeError`. */
export function decodeFrame(frame: Uint8Array): Frame {
  const reader = new Reader(frame, "Ethernet frame");
  const addresses = {
    destination: macFromBytes(reader.bytes(6, "destination")),
    source: macFromBytes(reader.bytes(6, "source")),
  };
  const etherType = reader.u16("type");
  if (etherType === ETHERTYPE.arp) return { ...addresses, ...decodeArp(reader) };
  if (etherType === ETHERTYPE.ipv4) return { ...addresses, ...decodeIpv4(frame, addresses.source) };
  return { ...addresses, kind: "other", why: `type 0x${etherType.toString(16)}` };
}

function decodeArp(reader: Reader): ArpMessage {
  const kind = [
    reader.u16("hardware type"),
    reader.u16("protocol type"),
    reader.u8("hardware length"),
    reader.u8("protocol length"),
  ];
  if (kind.join() !== [ARP_ETHERNET, ETHERTYPE.ipv4, 6, 4].join()) {
    throw reader.error("header", `ARP for ${kind.join("/")} instead of Ethernet and IPv4`);
  }
  const operation = reader.u16("operation");
  if (operation !== ARP_OPERATION.request && operation !== ARP_OPERATION.reply) {
    throw reader.error("operation", `${operation} is neither request nor reply`);
  }
  return {
    kind: "arp",
    operation: operation === ARP_OPERATION.request ? "request" : "reply",
    senderMac: macFromBytes(reader.bytes(6, "sender MAC")),
    senderAddress: ipv4FromBytes(reader.bytes(4, "sender address")),
    targetMac: macFromBytes(reader.bytes(6, "target MAC")),
    targetAddress: ipv4FromBytes(reader.bytes(4, "target address")),
  };
}

function decodeIpv4(frame: Uint8Array, sourceMac: Mac): UdpMessage | { kind: "other"; why: string } {
  const reader = new Reader(frame, "IPv4 packet", ETHERNET_HEADER_BYTES);
  const versionAndLength = reader.u8("version");
  const headerBytes = (versionAndLength & 0x0f) * 4;
  if (versionAndLength >>> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES) {
    throw reader.error("version", `0x${versionAndLength.toString(16)} is no IPv4 header`);
  }
  reader.skip(1, "type of service");
  const totalBytes = reader.u16("total length");
  if (totalBytes < headerBytes || totalBytes > frame.length - ETHERNET_HEADER_BYTES) {
    throw reader.error("total length", `${totalBytes} does not fit the frame`);
  }
  reader.skip(2, "identification");
  const fragment = reader.u16("fragment") & MORE_FRAGMENTS_OR_OFFSET;
  reader.skip(1, "time to live");
  const protocol = reader.u8("protocol");
  reader.skip(2, "checksum");
  const from = ipv4FromBytes(reader.bytes(4, "source"));
  const to = ipv4FromBytes(reader.bytes(4, "destination"));
  if (internetChecksum(frame.subarray(ETHERNET_HEADER_BYTES, ETHERNET_HEADER_BYTES + headerBytes)) !== 0) {
    throw reader.error("checksum", "it does not fit the header");
  }
  if (fragment !== 0) return { kind: "other", why: "fragment" };
  if (protocol !== PROTOCOL_UDP) return { kind: "other", why: `protocol ${protocol}` };
  // Short frames are padded to 60 bytes: only the IP length says where the datagram ends.
  const udp = frame.subarray(ETHERNET_HEADER_BYTES + headerBytes, ETHERNET_HEADER_BYTES + totalBytes);
  return { ...decodeUdp(udp, from, to), sourceMac };
}

function decodeUdp(segment: Uint8Array, from: Ipv4, to: Ipv4): Omit<UdpMessage, "sourceMac"> {
  const reader = new Reader(segment, "UDP datagram");
  const sourcePort = reader.u16("source port");
  const port = reader.u16("destination port");
  const lengthBytes = reader.u16("length");
  const checksum = reader.u16("checksum");
  if (lengthBytes < UDP_HEADER_BYTES || lengthBytes > segment.length) {
    throw reader.error("length", `${lengthBytes} does not fit the packet`);
  }
  const whole = segment.subarray(0, lengthBytes);
  if (checksum !== 0 && internetChecksum(pseudoHeader(from, to, lengthBytes), whole) !== 0) {
    throw reader.error("checksum", "it does not fit the datagram");
  }
  return {
    kind: "udp",
    from: { address: from, port: sourcePort },
    to: { address: to, port },
    bytes: whole.subarray(UDP_HEADER_BYTES),
  };
}
