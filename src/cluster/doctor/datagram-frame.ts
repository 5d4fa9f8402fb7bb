/**
 * A UDP datagram in an Ethernet frame: RFC 894, RFC 791 section 3.1, RFC 768. Checksums are not looked at: those of
 * frames from this machine's own virtual networks are left to cards that never see them.
 * Left out: VLAN tags and fragments.
 */
import { type Ipv4, ipv4FromBytes, type Mac, macFromBytes } from "../../bytes/addresses.ts";
import { Reader } from "../../bytes/reader.ts";

export interface DatagramFrame {
  sourceMac: Mac;
  from: { address: Ipv4; port: number };
  to: { address: Ipv4; port: number };
  bytes: Uint8Array;
}

const FORMAT = "Ethernet frame";
const ETHERTYPE_IPV4 = 0x0800;
const UDP = 17;
const UDP_HEADER_BYTES = 8;
const FRAGMENT = 0x3fff;

/** `undefined` for other frames. Throws `DecodeError` for damaged ones. */
export function decodeDatagramFrame(frame: Uint8Array): DatagramFrame | undefined {
  const ethernet = new Reader(frame, FORMAT);
  ethernet.skip(6, "destination");
  const sourceMac = macFromBytes(ethernet.bytes(6, "source"));
  if (ethernet.u16("type") !== ETHERTYPE_IPV4) return undefined;
  const ip = new Reader(ethernet.rest(), FORMAT);
  const versionAndLength = ip.u8("version");
  if (versionAndLength >>> 4 !== 4) return undefined;
  ip.skip(1, "type of service");
  const totalBytes = ip.u16("total length");
  ip.skip(2, "identification");
  const fragment = ip.u16("fragment") & FRAGMENT;
  ip.skip(1, "time to live");
  const protocol = ip.u8("protocol");
  ip.skip(2, "checksum");
  const source = ipv4FromBytes(ip.bytes(4, "source"));
  const destination = ipv4FromBytes(ip.bytes(4, "destination"));
  if (protocol !== UDP || fragment !== 0) return undefined;
  ip.skip((versionAndLength & 0x0f) * 4 - ip.position, "options");
  // Short frames are padded: only the lengths say where the datagram ends.
  const udp = new Reader(ip.bytes(totalBytes - ip.position, "datagram"), FORMAT);
  const from = { address: source, port: udp.u16("source port") };
  const to = { address: destination, port: udp.u16("destination port") };
  const lengthBytes = udp.u16("length");
  udp.skip(2, "checksum");
  return { sourceMac, from, to, bytes: udp.bytes(lengthBytes - UDP_HEADER_BYTES, "payload") };
}
