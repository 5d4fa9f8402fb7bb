/**
 * A raw socket on one interface: packet(7), with a filter of classic BPF in the kernel
 * (Documentation/networking/filter.rst). Needs CAP_NET_RAW.
 */
import { type Mac, macToBytes } from "../bytes/addresses.ts";
import { BindError } from "./bind-error.ts";
import { AF_PACKET, addressOf, lastErrorCode, libc, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from "./udp-libc.ts";

const SOCK_RAW = 3;
const ETH_P_ALL = 0x0003;
const SO_ATTACH_FILTER = 26;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
export const PACKET_MR_MULTICAST = 0;
export const PACKET_MR_PROMISCUOUS = 1;

/** One instruction: code, where to go if true, if false, operand. */
export type FilterRow = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

export interface PacketSocketOptions {
  interfaceName: string;
  /** What is queued for us. */
  filter: readonly FilterRow[];
  /** Options of the level `SOL_PACKET` with the value 1, set before anything is queued. */
  switchedOn?: readonly number[];
  /** What is said when it fails, before the reason, as "Cannot use the card eth0". */
  refusal: string;
}

export interface PacketSocket {
  fd: number;
  interfaceIndex: number;
  /** `struct sockaddr_ll`: where frames are sent to. */
  address: Buffer;
}

/** Throws `BindError`, and leaves nothing open then. */
export function openPacketSocket({
  interfaceName,
  filter,
  switchedOn = [],
  refusal,
}: PacketSocketOptions): PacketSocket {
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const check = (result: number) => {
    if (result < 0) failPacketSocket(fd, refusal);
  };
  check(fd);
  const interfaceIndex = libc.if_nametoindex(interfaceName);
  check(interfaceIndex === 0 ? -1 : 0);
  // The filter before the binding: nothing else is ever queued.
  const program = encodeFilter(filter);
  const described = Buffer.alloc(16);
  described.writeUInt16LE(filter.length, 0);
  described.writeBigUInt64LE(addressOf(program), 8);
  check(libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, described, described.length));
  const on = Buffer.from(Uint32Array.of(1).buffer);
  for (const option of switchedOn) check(libc.setsockopt(fd, SOL_PACKET, option, on, on.length));
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ALL, 2);
  address.writeInt32LE(interfaceIndex, 4);
  check(libc.bind(fd, address, address.length));
  return { fd, interfaceIndex, address };
}

/** Closes the socket and throws what the system said of the last call. */
export function failPacketSocket(fd: number, refusal: string): never {
  const code = lastErrorCode();
  if (fd >= 0) libc.close(fd);
  throw new BindError(`${refusal}: ${reason(code)}`, code);
}

/** `struct packet_mreq`: what the card is to take beside what is for its own address. Negative when it cannot. */
export function joinMembership({ fd, interfaceIndex }: PacketSocket, type: number, group?: Mac): number {
  const request = Buffer.alloc(16);
  request.writeInt32LE(interfaceIndex, 0);
  request.writeUInt16LE(type, 4);
  if (group) {
    request.writeUInt16LE(6, 6);
    request.set(macToBytes(group), 8);
  }
  return libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request, request.length);
}

function encodeFilter(rows: readonly FilterRow[]): Buffer {
  const program = Buffer.alloc(rows.length * 8);
  rows.forEach(([code, ifTrue, ifFalse, operand], index) => {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(ifTrue, index * 8 + 2);
    program.writeUInt8(ifFalse, index * 8 + 3);
    program.writeUInt32LE(operand, index * 8 + 4);
  });
  return program;
}

function reason(code: string): string {
  switch (code) {
    case "EPERM":
    case "EACCES":
      return "this needs the capability CAP_NET_RAW; run as root";
    case "ENODEV":
    case "ENXIO":
      return "there is no such interface";
    case "ENETDOWN":
      return "it is switched off";
    default:
      return `the system says ${code}`;
  }
}
