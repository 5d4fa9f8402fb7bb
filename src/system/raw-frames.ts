/**
 * Ethernet frames of one interface, beside the kernel's own network: packet(7), with a filter in the kernel
 * (Documentation/networking/filter.rst) that lets through what is asked for and nothing else. Needs CAP_NET_RAW.
 */
import koffi from "koffi";
import { type Mac, macToBytes } from "../bytes/addresses.ts";
import { BindError } from "./bind-error.ts";
import {
  AF_PACKET,
  addressOf,
  lastErrorCode,
  libc,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  watchReadable,
} from "./udp-libc.ts";

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

const SOCK_RAW = 3;
const ETH_P_ALL = 0x0003;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_MULTICAST = 0;
const PACKET_MR_PROMISCUOUS = 1;
const SO_ATTACH_FILTER = 26;
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
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const fail = (): never => {
    const code = lastErrorCode();
    if (fd >= 0) libc.close(fd);
    throw new BindError(`Cannot listen to the frames of ${interfaceName}: ${reason(code)}`, code);
  };
  if (fd < 0) fail();
  const interfaceIndex = libc.if_nametoindex(interfaceName);
  if (interfaceIndex === 0) fail();
  // The filter before the binding: nothing else is ever queued.
  const program = filterProgram(filter.udpPort);
  const described = Buffer.alloc(16);
  described.writeUInt16LE(program.length / 8, 0);
  described.writeBigUInt64LE(addressOf(program), 8);
  if (libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, described, described.length) < 0) fail();
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ALL, 2);
  address.writeInt32LE(interfaceIndex, 4);
  if (libc.bind(fd, address, address.length) < 0) fail();
  // Answers to a made-up address come only to a card that takes everything. A card that cannot hears less.
  join(fd, interfaceIndex, PACKET_MR_PROMISCUOUS);
  for (const group of filter.groups) join(fd, interfaceIndex, PACKET_MR_MULTICAST, group);

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

function reason(code: string): string {
  switch (code) {
    case "EPERM":
    case "EACCES":
      return "this needs the capability CAP_NET_RAW; run as root";
    case "ENODEV":
      return "there is no such interface";
    case "ENETDOWN":
      return "it is switched off";
    default:
      return `the system says ${code}`;
  }
}

/** `struct packet_mreq`. */
function join(fd: number, interfaceIndex: number, type: number, group?: Mac): void {
  const request = Buffer.alloc(16);
  request.writeInt32LE(interfaceIndex, 0);
  request.writeUInt16LE(type, 4);
  if (group) {
    request.writeUInt16LE(6, 6);
    request.set(macToBytes(group), 8);
  }
  libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request, request.length);
}

/** Classic BPF, one row for each instruction: code, where to go if true, if false, operand. */
function filterProgram(udpPort: number): Buffer {
  const rows = [
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
  ] as const;
  const program = Buffer.alloc(rows.length * 8);
  rows.forEach(([code, ifTrue, ifFalse, operand], index) => {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(ifTrue, index * 8 + 2);
    program.writeUInt8(ifFalse, index * 8 + 3);
    program.writeUInt32LE(operand, index * 8 + 4);
  });
  return program;
}
