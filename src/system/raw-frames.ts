/**
 * Ethernet frames of one interface, beside the kernel's own network: packet(7), with a filter in the kernel
 * (Documentation/networking/filter.rst) that lets through what is asked for and nothing else. Needs CAP_NET_RAW.
 */
import koffi from "koffi";
import type { Mac } from "../bytes/addresses.ts";
import {
  type FilterRow,
  joinMembership,
  openPacketSocket,
  PACKET_MR_MULTICAST,
  PACKET_MR_PROMISCUOUS,
} from "./packet-socket.ts";
import { libc, watchReadable } from "./udp-libc.ts";

export interface RawFrames {
  /** A whole frame, from the destination address on; without the checksum. */
  send(frame: Uint8Array): void;
  close(): void;
}

/** What to hear: frames of IEEE 802.3 (with a length instead of a type), and UDP over IPv4 to a port. */
export interface FrameFilter {
  udpPort: number;
  /** Heard also when the card would drop them: others' multicast addresses. */
  groups: readonly Mac[];
}

/** `sll_pkttype` of `struct sockaddr_ll`: what this machine sends itself. */
const PACKET_TYPE_AT = 10;
const PACKET_OUTGOING = 4;
const FRAME_BYTES_MAX = 2048;
const FRAMES_PER_TURN_MAX = 256;

const recvfrom = koffi
  .load(null)
  .func("long recvfrom(int fd, void *bytes, size_t length, int flags, void *address, void *addressLength)");

/** Throws `BindError`. Own frames are not heard. */
export function openRawFrames(
  interfaceName: string,
  filter: FrameFilter,
  onFrame: (frame: Uint8Array) => void,
): RawFrames {
  const refusal = `Cannot listen to the frames of ${interfaceName}`;
  const socket = openPacketSocket({ interfaceName, filter: filterFor(filter.udpPort), refusal });
  const { fd, address } = socket;
  // Answers to a made-up address come only to a card that takes everything. A card that cannot hears less.
  joinMembership(socket, PACKET_MR_PROMISCUOUS);
  for (const group of filter.groups) joinMembership(socket, PACKET_MR_MULTICAST, group);

  let isOpen = true;
  const bytes = Buffer.alloc(FRAME_BYTES_MAX);
  const from = Buffer.alloc(20);
  const fromLength = Buffer.alloc(4);
  const drain = () => {
    for (let count = 0; isOpen && count < FRAMES_PER_TURN_MAX; count++) {
      fromLength.writeUInt32LE(from.length);
      const lengthBytes = Number(recvfrom(fd, bytes, bytes.length, 0, from, fromLength));
      if (lengthBytes <= 0) return;
      if (from[PACKET_TYPE_AT] !== PACKET_OUTGOING) onFrame(Uint8Array.from(bytes.subarray(0, lengthBytes)));
    }
  };
  const watch = watchReadable(fd, () => setImmediate(drain));
  return {
    send: (frame) => void libc.sendto(fd, frame, frame.length, 0, address, address.length),
    close() {
      if (!isOpen) return;
      isOpen = false;
      watch.close();
      libc.close(fd);
    },
  };
}

function filterFor(udpPort: number): FilterRow[] {
  return [
    [0x28, 0, 0, 12], // the type or length
    [0x25, 0, 9, 1500], // above 1500 it is a type; else take it
    [0x15, 0, 7, 0x0800], // IPv4
    [0x30, 0, 0, 23],
    [0x15, 0, 5, 17], // UDP
    [0x28, 0, 0, 20],
    [0x45, 3, 0, 0x1fff], // a later fragment has no ports
    [0xb1, 0, 0, 14], // the length of the IP header
    [0x48, 0, 0, 16], // the destination port
    [0x15, 1, 0, udpPort],
    [0x06, 0, 0, 0], // drop
    [0x06, 0, 0, FRAME_BYTES_MAX],
  ];
}
