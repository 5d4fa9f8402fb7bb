/**
 * A packet as `bramble capture` gives it out. Sockets see datagrams, so the headers below are made again (RFC 894, 791,
 * 768): addresses are real where they are known, the rest is what the kernel would have written. UDP has no checksum.
 */
import { IPV4_BROADCAST, ipv4ToBytes, type Mac, macToBytes } from "../../bytes/addresses.ts";
import { Writer } from "../../bytes/writer.ts";
import { datagramText } from "../../cluster/packet-text.ts";
import { internetChecksum } from "../../system/udp-frame.ts";
import type { SeenPacket } from "./packet-rings.ts";
import type { CapturedFrame } from "./pcap.ts";

/** As JSON. */
export type CapturedPacketJson = Omit<SeenPacket, "bytes"> & { base64: string; sourceMac: Mac; destinationMac: Mac };

const ETHERTYPE_IPV4 = 0x0800;
const ETHERNET_HEADER_BYTES = 14;
const IP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const TTL = 64;
const UDP = 17;
const MAC_UNKNOWN = "00:00:00:00:00:00" as Mac;
const MAC_BROADCAST = "ff:ff:ff:ff:ff:ff" as Mac;

/** `macs` are of the peer and of ours, where they are known. */
export function capturedPacket(packet: SeenPacket, macs: { peer?: Mac; own?: Mac }): CapturedPacketJson {
  const { bytes, ...rest } = packet;
  const own = macs.own ?? MAC_UNKNOWN;
  const peer = packet.hardwareAddress ?? macs.peer ?? MAC_UNKNOWN;
  const isBroadcast = packet.to.address === IPV4_BROADCAST && packet.hardwareAddress === undefined;
  const [source, destination] = packet.direction === "sent" ? [own, peer] : [peer, own];
  return {
    ...rest,
    base64: Buffer.from(bytes).toString("base64"),
    sourceMac: source,
    destinationMac: isBroadcast ? MAC_BROADCAST : destination,
  };
}

export function frameOf(packet: CapturedPacketJson): CapturedFrame {
  const { unixUs, from, to, lengthBytes, etherType } = packet;
  const bytes = Buffer.from(packet.base64, "base64");
  const ethernet = new Writer(ETHERNET_HEADER_BYTES + IP_HEADER_BYTES + UDP_HEADER_BYTES + bytes.length)
    .bytes(macToBytes(packet.destinationMac))
    .bytes(macToBytes(packet.sourceMac))
    .u16(etherType ?? ETHERTYPE_IPV4);
  if (etherType !== undefined) {
    return { unixUs, frame: ethernet.bytes(bytes).finish(), frameBytes: ETHERNET_HEADER_BYTES + lengthBytes };
  }
  const udpBytes = UDP_HEADER_BYTES + lengthBytes;
  const ip = (checksum: number) =>
    new Writer(IP_HEADER_BYTES)
      .u16(0x4500) // version 4, five words of header, ordinary service
      .u16(IP_HEADER_BYTES + udpBytes)
      .u32(0) // identification and fragment: whole
      .u8(TTL)
      .u8(UDP)
      .u16(checksum)
      .bytes(ipv4ToBytes(from.address))
      .bytes(ipv4ToBytes(to.address))
      .finish();
  const frame = ethernet
    .bytes(ip(internetChecksum(ip(0))))
    .u16(from.port)
    .u16(to.port)
    .u16(udpBytes)
    .u16(0)
    .bytes(bytes)
    .finish();
  return { unixUs, frame, frameBytes: ETHERNET_HEADER_BYTES + IP_HEADER_BYTES + udpBytes };
}

/** One line, and more for DHCP's options. */
export function capturedText(packet: CapturedPacketJson): string {
  const { unixUs, from, to, lengthBytes, etherType, direction } = packet;
  const time = new Date(unixUs / 1000).toISOString().slice(11, -1) + String(unixUs % 1000).padStart(3, "0");
  const arrow = direction === "sent" ? "<-" : "->";
  if (etherType !== undefined) {
    const type = etherType.toString(16).padStart(4, "0");
    return `${time}  ${arrow}  ${packet.sourceMac} > ${packet.destinationMac}  frame of type 0x${type}, ${lengthBytes} bytes`;
  }
  return `${time}  ${arrow}  ${datagramText({ from, to, bytes: Buffer.from(packet.base64, "base64"), lengthBytes })}`;
}
