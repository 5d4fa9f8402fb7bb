/**
 * ARP for IPv4 on Ethernet: RFC 826, and the probe of RFC 5227 section 1.1, which asks without naming an address of the
 * asker, so that nobody's cache changes. Left out: other hardware and other protocols.
 */
import { type Ipv4, ipv4FromBytes, ipv4ToBytes, type Mac, macFromBytes, macToBytes } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";

export interface ArpPacket {
  operation: "request" | "reply";
  senderMac: Mac;
  senderAddress: Ipv4;
  targetMac: Mac;
  targetAddress: Ipv4;
}

export const ARP_PACKET_BYTES = 28;

const FORMAT = "ARP packet";
/** Ethernet, IPv4, six bytes, four bytes. */
const HEAD = 0x0001_0800_0604n;
const OPERATIONS = { request: 1, reply: 2 } as const;

export function encodeArp(packet: ArpPacket): Uint8Array {
  return new Writer(ARP_PACKET_BYTES)
    .u32(Number(HEAD >> 16n))
    .u16(Number(HEAD & 0xffffn))
    .u16(OPERATIONS[packet.operation])
    .bytes(macToBytes(packet.senderMac))
    .bytes(ipv4ToBytes(packet.senderAddress))
    .bytes(macToBytes(packet.targetMac))
    .bytes(ipv4ToBytes(packet.targetAddress))
    .finish();
}

/** What follows the 28 bytes is Ethernet's padding. Throws `DecodeError`. */
export function decodeArp(bytes: Uint8Array): ArpPacket {
  const reader = new Reader(bytes, FORMAT);
  const head = (BigInt(reader.u32("hardware and protocol")) << 16n) | BigInt(reader.u16("address lengths"));
  if (head !== HEAD) throw new DecodeError(FORMAT, "byte 0", `${head.toString(16)} is not IPv4 on Ethernet`);
  const code = reader.u16("operation");
  const operation = code === OPERATIONS.request ? "request" : code === OPERATIONS.reply ? "reply" : undefined;
  if (!operation) throw reader.error("operation", `${code} is neither 1 nor 2`);
  return {
    operation,
    senderMac: macFromBytes(reader.bytes(6, "sender's MAC")),
    senderAddress: ipv4FromBytes(reader.bytes(4, "sender's address")),
    targetMac: macFromBytes(reader.bytes(6, "target's MAC")),
    targetAddress: ipv4FromBytes(reader.bytes(4, "target's address")),
  };
}
