/** What a fault needs to know of a frame. Ethernet II and IPv4 (RFC 894, RFC 791); nothing is checked but lengths. */

export interface FrameFacts {
  ip?: {
    /** Of the packet, with its header. */
    totalBytes: number;
    protocol: "udp" | "tcp" | "other";
    /** Absent in all but the first fragment. */
    ports?: { from: number; to: number };
  };
}

const ETHERNET_HEADER_BYTES = 14;
const IPV4_HEADER_BYTES_MIN = 20;
const TYPE_IPV4 = 0x0800;
const FRAGMENT_OFFSET = 0x1fff;
const PROTOCOLS: Record<number, "udp" | "tcp"> = { 6: "tcp", 17: "udp" };

/** Of what is too short to say, nothing. */
export function frameFacts(frame: Uint8Array): FrameFacts {
  if (frame.length < ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES_MIN) return {};
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint16(ETHERNET_HEADER_BYTES - 2) !== TYPE_IPV4) return {};
  const at = (offset: number) => ETHERNET_HEADER_BYTES + offset;
  const protocol = PROTOCOLS[view.getUint8(at(9))] ?? "other";
  const segment = at((view.getUint8(at(0)) & 0x0f) * 4);
  const hasPorts =
    protocol !== "other" && (view.getUint16(at(6)) & FRAGMENT_OFFSET) === 0 && segment + 4 <= frame.length;
  return {
    ip: {
      totalBytes: view.getUint16(at(2)),
      protocol,
      ...(hasPorts && { ports: { from: view.getUint16(segment), to: view.getUint16(segment + 2) } }),
    },
  };
}
