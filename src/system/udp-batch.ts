/**
 * Many datagrams in one system call: the memory that recvmmsg(2) and sendmmsg(2) work on, laid out once.
 *
 *     struct mmsghdr, 64 bytes on 64-bit Linux (glibc; musl's is compatible):
 *       0 name*   8 name length   16 iovec*   24 iovec count   32 control*   40 control length   48 flags   56 length
 */
import { IPV4_ANY, type Ipv4, ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import type { UdpPeer } from "../ports.ts";
import { AF_INET, addressOf, IP_PKTINFO, IPPROTO_IP, libc, MSG_TRUNC } from "./udp-libc.ts";

const HEADER_BYTES = 64;
const IOVEC_BYTES = 16;
const NAME_BYTES = 16;
/** One cmsghdr (16 bytes) with an in_pktinfo (12), padded to 8. */
const CONTROL_BYTES = 32;
const PKTINFO = { cmsgBytes: 28, interfaceIndex: 16, localAddress: 20 };
const FIELD = { nameLength: 8, iovecCount: 24, controlPointer: 32, controlLength: 40, flags: 48, length: 56 };

class Batch {
  readonly slots: number;
  protected readonly slotBytes: number;
  protected readonly headers: Buffer;
  protected readonly iovecs: Buffer;
  protected readonly names: Buffer;
  protected readonly control: Buffer;
  protected readonly data: Buffer;

  constructor(slots: number, slotBytes: number) {
    this.slots = slots;
    this.slotBytes = slotBytes;
    this.headers = Buffer.alloc(HEADER_BYTES * slots);
    this.iovecs = Buffer.alloc(IOVEC_BYTES * slots);
    this.names = Buffer.alloc(NAME_BYTES * slots);
    this.control = Buffer.alloc(CONTROL_BYTES * slots);
    this.data = Buffer.allocUnsafeSlow(slotBytes * slots);
    for (let slot = 0; slot < slots; slot++) this.#link(slot);
  }

  #link(slot: number): void {
    const header = slot * HEADER_BYTES;
    this.headers.writeBigUInt64LE(addressOf(this.names) + BigInt(slot * NAME_BYTES), header);
    this.headers.writeUInt32LE(NAME_BYTES, header + FIELD.nameLength);
    this.headers.writeBigUInt64LE(addressOf(this.iovecs) + BigInt(slot * IOVEC_BYTES), header + 16);
    this.headers.writeBigUInt64LE(1n, header + FIELD.iovecCount);
    this.headers.writeBigUInt64LE(
      addressOf(this.control) + BigInt(slot * CONTROL_BYTES),
      header + FIELD.controlPointer,
    );
    this.iovecs.writeBigUInt64LE(addressOf(this.data) + BigInt(slot * this.slotBytes), slot * IOVEC_BYTES);
    this.iovecs.writeBigUInt64LE(BigInt(this.slotBytes), slot * IOVEC_BYTES + 8);
  }
}

/** Addresses met before in their other form: a transfer asks for the same two thousands of times a second. */
class Remembered<From, To> {
  readonly #known = new Map<From, To>();
  readonly #compute: (from: From) => To;

  constructor(compute: (from: From) => To) {
    this.#compute = compute;
  }

  get(from: From): To {
    let to = this.#known.get(from);
    if (to === undefined) {
      if (this.#known.size >= REMEMBERED_MAX) this.#known.clear();
      to = this.#compute(from);
      this.#known.set(from, to);
    }
    return to;
  }
}

const REMEMBERED_MAX = 4096;
const textOf = new Remembered(ipv4FromNumber);
const numberOf = new Remembered(ipv4ToNumber);

export interface BatchedDatagram {
  bytes: Uint8Array;
  from: UdpPeer;
  localAddress?: Ipv4;
  interfaceIndex?: number;
}

export class ReceiveBatch extends Batch {
  /** Slots whose lengths the kernel has written over. */
  #usedSlots = this.slots;

  /** How many datagrams came, or -1. */
  receive(fd: number): number {
    for (let slot = 0; slot < this.#usedSlots; slot++) {
      this.headers.writeUInt32LE(NAME_BYTES, slot * HEADER_BYTES + FIELD.nameLength);
      this.headers.writeUInt32LE(CONTROL_BYTES, slot * HEADER_BYTES + FIELD.controlLength);
    }
    const count: number = libc.recvmmsg(fd, this.headers, this.slots, 0, null);
    this.#usedSlots = Math.max(0, count);
    return count;
  }

  /** A copy; `undefined` for a datagram that was larger than a slot. */
  datagram(slot: number): BatchedDatagram | undefined {
    const header = slot * HEADER_BYTES;
    if ((this.headers.readInt32LE(header + FIELD.flags) & MSG_TRUNC) !== 0) return undefined;
    const start = slot * this.slotBytes;
    const lengthBytes = this.headers.readUInt32LE(header + FIELD.length);
    const name = slot * NAME_BYTES;
    const datagram: BatchedDatagram = {
      bytes: Buffer.from(this.data.subarray(start, start + lengthBytes)),
      from: { address: textOf.get(this.names.readUInt32BE(name + 4)), port: this.names.readUInt16BE(name + 2) },
    };
    if (this.headers.readUInt32LE(header + FIELD.controlLength) >= PKTINFO.cmsgBytes) {
      const control = slot * CONTROL_BYTES;
      datagram.interfaceIndex = this.control.readInt32LE(control + PKTINFO.interfaceIndex);
      datagram.localAddress = textOf.get(this.control.readUInt32BE(control + PKTINFO.localAddress));
    }
    return datagram;
  }
}

export interface SendSource {
  localAddress?: Ipv4;
  /** 0: by the routing table. */
  interfaceIndex?: number;
}

export class SendBatch extends Batch {
  #fds: number[] = [];

  get isFull(): boolean {
    return this.#fds.length === this.slots;
  }

  fits(bytes: Uint8Array): boolean {
    return bytes.length <= this.slotBytes;
  }

  /** Copies the datagram into the next slot. */
  add(fd: number, bytes: Uint8Array, to: UdpPeer, { localAddress, interfaceIndex = 0 }: SendSource): void {
    const slot = this.#fds.push(fd) - 1;
    this.data.set(bytes, slot * this.slotBytes);
    this.iovecs.writeUInt32LE(bytes.length, slot * IOVEC_BYTES + 8);
    socketAddress(to, this.names, slot * NAME_BYTES);
    const hasSource = localAddress !== undefined || interfaceIndex !== 0;
    this.headers.writeUInt32LE(hasSource ? CONTROL_BYTES : 0, slot * HEADER_BYTES + FIELD.controlLength);
    if (!hasSource) return;
    const control = slot * CONTROL_BYTES;
    this.control.writeUInt32LE(PKTINFO.cmsgBytes, control);
    this.control.writeInt32LE(IPPROTO_IP, control + 8);
    this.control.writeInt32LE(IP_PKTINFO, control + 12);
    this.control.writeInt32LE(interfaceIndex, control + PKTINFO.interfaceIndex);
    this.control.writeUInt32BE(numberOf.get(localAddress ?? IPV4_ANY), control + PKTINFO.localAddress);
  }

  /** Sends everything, one call for each run of datagrams of one socket. `onError` for each that could not be sent. */
  flush(onError: (fd: number) => void): void {
    const fds = this.#fds;
    this.#fds = [];
    for (let slot = 0; slot < fds.length; ) {
      const fd = fds[slot]!;
      let end = slot + 1;
      while (end < fds.length && fds[end] === fd) end++;
      while (slot < end) {
        const sent: number = libc.sendmmsg(fd, this.headers.subarray(slot * HEADER_BYTES), end - slot, 0);
        if (sent > 0) {
          slot += sent;
        } else {
          onError(fd);
          slot++;
        }
      }
    }
  }
}

/** struct sockaddr_in */
export function socketAddress(peer: UdpPeer, target: Buffer = Buffer.alloc(NAME_BYTES), at = 0): Buffer {
  target.writeUInt16LE(AF_INET, at);
  target.writeUInt16BE(peer.port, at + 2);
  target.writeUInt32BE(numberOf.get(peer.address), at + 4);
  return target;
}
