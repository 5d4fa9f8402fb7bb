/**
 * A card of this machine as one that we are: packet(7), whole frames out and those for us in, beside the kernel's own
 * network. What goes out does not come to programs of this machine. Needs CAP_NET_RAW.
 */
import koffi from "koffi";
import { type Mac, macToBytes } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";
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

const SOCK_RAW = 3;
const ETH_P_ALL = 0x0003;
const SO_ATTACH_FILTER = 26;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISCUOUS = 1;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
/** `struct virtio_net_hdr` before each frame. */
const HEADER_BYTES = 10;
/** In its first byte: a card was to compute the checksum, and none did. */
const NEEDS_CHECKSUM = 1;
const FRAME_BYTES_MAX = 9018;
const FRAMES_PER_TURN_MAX = 256;
/** A filter has at most 4,096 instructions, and each address needs five. */
export const RAW_CARD_ADDRESSES_MAX = 500;

const recv = koffi.load(null).func("long recv(int fd, void *bytes, size_t length, int flags)");

/** Hears broadcasts, multicasts and what is for one of `addresses`. Throws `BindError`. */
export function openRawCard(interfaceName: string, addresses: readonly Mac[]): EthernetPort {
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const check = (result: number) => {
    if (result >= 0) return;
    const code = lastErrorCode();
    if (fd >= 0) libc.close(fd);
    throw new BindError(`Cannot use the card ${interfaceName}: ${reason(code)}`, code);
  };
  check(fd);
  const interfaceIndex = libc.if_nametoindex(interfaceName);
  check(interfaceIndex === 0 ? -1 : 0);
  const set = (level: number, name: number, value: Buffer) =>
    check(libc.setsockopt(fd, level, name, value, value.length));
  // The filter before the binding: nothing else is ever queued.
  const program = filterProgram(addresses);
  const described = Buffer.alloc(16);
  described.writeUInt16LE(program.length / 8, 0);
  described.writeBigUInt64LE(addressOf(program), 8);
  set(SOL_SOCKET, SO_ATTACH_FILTER, described);
  set(SOL_PACKET, PACKET_VNET_HDR, number32(1));
  set(SOL_PACKET, PACKET_IGNORE_OUTGOING, number32(1));
  const binding = Buffer.alloc(20);
  binding.writeUInt16LE(AF_PACKET, 0);
  binding.writeUInt16BE(ETH_P_ALL, 2);
  binding.writeInt32LE(interfaceIndex, 4);
  check(libc.bind(fd, binding, binding.length));
  // Otherwise the card drops what is for made-up addresses.
  const membership = Buffer.alloc(16);
  membership.writeInt32LE(interfaceIndex, 0);
  membership.writeUInt16LE(PACKET_MR_PROMISCUOUS, 4);
  set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership);
  return new RawCard(fd, binding);
}

class RawCard implements EthernetPort {
  readonly #fd: number;
  readonly #binding: Buffer;
  readonly #bytes = Buffer.alloc(HEADER_BYTES + FRAME_BYTES_MAX);
  readonly #watch;
  #handler: (frame: Uint8Array) => void = () => {};
  #isOpen = true;

  constructor(fd: number, binding: Buffer) {
    this.#fd = fd;
    this.#binding = binding;
    this.#watch = watchReadable(fd, () => setImmediate(() => this.#drain()));
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    const bytes = Buffer.concat([Buffer.alloc(HEADER_BYTES), frame]);
    libc.sendto(this.#fd, bytes, bytes.length, 0, this.#binding, this.#binding.length);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#watch.close();
    libc.close(this.#fd);
  }

  #drain(): void {
    for (let count = 0; this.#isOpen && count < FRAMES_PER_TURN_MAX; count++) {
      const lengthBytes = Number(recv(this.#fd, this.#bytes, this.#bytes.length, 0));
      if (lengthBytes <= 0) return;
      if (lengthBytes > HEADER_BYTES) this.#handler(completeFrame(this.#bytes.subarray(0, lengthBytes)));
    }
  }
}

/**
 * The frame behind a `virtio_net_hdr`. A program of this machine leaves checksums to cards, and a virtual card to nobody:
 * such a checksum becomes 0, which in UDP means none.
 */
export function completeFrame(bytes: Buffer): Uint8Array {
  const frame = Uint8Array.from(bytes.subarray(HEADER_BYTES));
  if ((bytes[0]! & NEEDS_CHECKSUM) !== 0) {
    const at = bytes.readUInt16LE(6) + bytes.readUInt16LE(8);
    if (at + 2 <= frame.length) frame.fill(0, at, at + 2);
  }
  return frame;
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
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

/** Classic BPF (Documentation/networking/filter.rst): code, where to go if true, if false, operand. */
function filterProgram(addresses: readonly Mac[]): Buffer {
  const take = [0x06, 0, 0, HEADER_BYTES + FRAME_BYTES_MAX] as const;
  const rows = [
    [0x30, 0, 0, 0],
    [0x45, 0, 1, 1], // the group bit
    take,
    ...addresses.flatMap((mac) => {
      const bytes = Buffer.from(macToBytes(mac));
      return [
        [0x20, 0, 0, 2],
        [0x15, 0, 3, bytes.readUInt32BE(2)],
        [0x28, 0, 0, 0],
        [0x15, 0, 1, bytes.readUInt16BE(0)],
        take,
      ] as const;
    }),
    [0x06, 0, 0, 0],
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
