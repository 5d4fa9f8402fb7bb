/**
 * A card of this machine as one that we are: packet(7), whole frames out and those for us in, beside the kernel's own
 * network. What goes out does not come to programs of this machine. Needs CAP_NET_RAW.
 */
import koffi from "koffi";
import { type Mac, macToBytes } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";
import {
  type FilterRow,
  failPacketSocket,
  joinMembership,
  openPacketSocket,
  PACKET_MR_PROMISCUOUS,
} from "./packet-socket.ts";
import { libc, watchReadable } from "./udp-libc.ts";

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
  const refusal = `Cannot use the card ${interfaceName}`;
  const switchedOn = [PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING];
  const socket = openPacketSocket({ interfaceName, filter: filterFor(addresses), switchedOn, refusal });
  // Otherwise the card drops what is for made-up addresses.
  if (joinMembership(socket, PACKET_MR_PROMISCUOUS) < 0) failPacketSocket(socket.fd, refusal);
  return new RawCard(socket.fd, socket.address);
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

function filterFor(addresses: readonly Mac[]): FilterRow[] {
  const take: FilterRow = [0x06, 0, 0, HEADER_BYTES + FRAME_BYTES_MAX];
  return [
    [0x30, 0, 0, 0],
    [0x45, 0, 1, 1], // the group bit
    take,
    ...addresses.flatMap((mac): FilterRow[] => {
      const bytes = Buffer.from(macToBytes(mac));
      return [
        [0x20, 0, 0, 2],
        [0x15, 0, 3, bytes.readUInt32BE(2)],
        [0x28, 0, 0, 0],
        [0x15, 0, 1, bytes.readUInt16BE(0)],
        take,
      ];
    }),
    [0x06, 0, 0, 0],
  ];
}
