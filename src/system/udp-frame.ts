/**
 * A datagram as an IPv4 packet: RFC 791 section 3.1 and RFC 768, without options or fragments. For the one case where
 * the kernel cannot send: to a client that has been given an address, but does not answer ARP for it yet.
 */
import { ipv4ToBytes } from "../bytes/addresses.ts";
import { Writer } from "../bytes/writer.ts";
import type { UdpPeer } from "../ports.ts";

const IP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const UDP = 17;
const TTL = 64;

export function ipv4Packet(from: UdpPeer, to: UdpPeer, payload: Uint8Array): Uint8Array {
  const udpBytes = UDP_HEADER_BYTES + payload.length;
  const addresses = Buffer.concat([ipv4ToBytes(from.address), ipv4ToBytes(to.address)]);
  const pseudoHeader = new Writer(12).bytes(addresses).u16(UDP).u16(udpBytes).finish();

  const udp = (checksum: number) =>
    new Writer(udpBytes).u16(from.port).u16(to.port).u16(udpBytes).u16(checksum).bytes(payload).finish();
  const ip = (checksum: number) =>
    new Writer(IP_HEADER_BYTES)
      .u16(0x4500) // version 4, five words of header, ordinary service
      .u16(IP_HEADER_BYTES + udpBytes)
      .u32(0) // identification and fragment: whole
      .u8(TTL)
      .u8(UDP)
      .u16(checksum)
      .bytes(addresses)
      .finish();

  // RFC 768: a sum of zero is sent as all ones, for zero says that there is none.
  const udpChecksum = internetChecksum(Buffer.concat([pseudoHeader, udp(0)])) || 0xffff;
  return Buffer.concat([ip(internetChecksum(ip(0))), udp(udpChecksum)]);
}

/** RFC 1071: the ones' complement of the ones' complement sum of the 16-bit words. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
