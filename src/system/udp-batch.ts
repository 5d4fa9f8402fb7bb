/**
 * Many datagrams in one system call: the memory that recvmmsg(2) and sendmmsg(2) work on, laid out once.
 *
 *     struct mmsghdr, 64 bytes on 64-bit Linux (glibc; musl's is compatible), both machines little-endian:
 *       0 name*   8 name length   16 iovec*   24 iovec count   32 control*   40 control length   48 flags   56 length
 */
import { IPV4_ANY, type Ipv4, ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import type { UdpPeer } from "../ports.ts";
import { AF_INET, addressOf, IP_PKTINFO, IPPROTO_IP, libc, MSG_TRUNC } from "./udp-libc.ts";

/** Sizes and places in 32-bit words: typed arrays are several times as fast as a Buffer's methods. */
const HEADER = {
  words: 16,
  nameLength: 2,
  iovecs: 4,
  iovecCount: 6,
  control: 8,
  controlLength: 10,
  flags: 12,
  length: 14,
};
const IOVEC = { words: 4, lengthBytes: 2 };
/** A head and a body. */
const IOVECS_PER_SLOT = 2;
/** struct sockaddr_in */
const NAME = { words: 4, address: 1 };
/** One cmsghdr (16 bytes) with an in_pktinfo (12), padded to 8. */
const CONTROL = { words: 8, level: 2, type: 3, interfaceIndex: 4, localAddress: 5 };
const NAME_BYTES = NAME.words * 4;
const CONTROL_BYTES = CONTROL.words * 4;
const CMSG_BYTES = 28;

/** Memory that the kernel reads and writes, and where it lies. */
function wordsAt(countWords: number): { words: Uint32Array; address: number } {
  const buffer = Buffer.alloc(countWords * 4);
  return { words: new Uint32Array(buffer.buffer, buffer.byteOffset, countWords), address: Number(addressOf(buffer)) };
}

function writePointer(words: Uint32Array, at: number, address: number): void {
  words[at] = address;
  words[at + 1] = address / 2 ** 32;
}

class Batch {
  readonly slots: number;
  protected readonly slotBytes: number;
  protected readonly headers: Uint32Array;
  protected readonly iovecs: Uint32Array;
  protected readonly names: Uint32Array;
  protected readonly control: Uint32Array;
  protected readonly data: Buffer;
  protected readonly dataAddress: number;
  protected readonly headersAddress: number;

  constructor(slots: number, slotBytes: number) {
    const headers = wordsAt(HEADER.words * slots);
    const iovecs = wordsAt(IOVEC.words * IOVECS_PER_SLOT * slots);
    const names = wordsAt(NAME.words * slots);
    const control = wordsAt(CONTROL.words * slots);
    this.slots = slots;
    this.slotBytes = slotBytes;
    this.headers = headers.words;
    this.iovecs = iovecs.words;
    this.names = names.words;
    this.control = control.words;
    this.data = Buffer.allocUnsafeSlow(slotBytes * slots);
    this.dataAddress = Number(addressOf(this.data));
    this.headersAddress = headers.address;
    for (let slot = 0; slot < slots; slot++) {
      const header = slot * HEADER.words;
      const iovec = slot * IOVECS_PER_SLOT * IOVEC.words;
      writePointer(this.headers, header, names.address + slot * NAME_BYTES);
      this.headers[header + HEADER.nameLength] = NAME_BYTES;
      writePointer(this.headers, header + HEADER.iovecs, iovecs.address + iovec * 4);
      this.headers[header + HEADER.iovecCount] = 1;
      writePointer(this.headers, header + HEADER.control, control.address + slot * CONTROL_BYTES);
      writePointer(this.iovecs, iovec, this.dataAddress + slot * slotBytes);
      this.iovecs[iovec + IOVEC.lengthBytes] = slotBytes;
    }
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
/** As the kernel's words have them: in network order, read by a little-endian machine. */
const textOf = new Remembered((word: number) => ipv4FromNumber(swapped32(word)));
const wordOf = new Remembered((address: Ipv4) => swapped32(ipv4ToNumber(address)));

function swapped32(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

function swapped16(half: number): number {
  return ((half & 0xff) << 8) | (half >>> 8);
}

export class ReceiveBatch extends Batch {
  /** Slots whose lengths the kernel has written over. */
  #usedSlots = this.slots;
  /** A view of each slot, as long as its last datagram: most are acknowledgements, of four bytes each. */
  readonly #views: Buffer[] = Array.from({ length: this.slots }, (_, slot) =>
    this.data.subarray(slot * this.slotBytes, slot * this.slotBytes),
  );

  /** How many datagrams came, or -1. */
  receive(fd: number): number {
    for (let slot = 0; slot < this.#usedSlots; slot++) {
      this.headers[slot * HEADER.words + HEADER.nameLength] = NAME_BYTES;
      this.headers[slot * HEADER.words + HEADER.controlLength] = CONTROL_BYTES;
    }
    const count: number = libc.recvmmsg(fd, this.headersAddress, this.slots, 0, 0);
    this.#usedSlots = Math.max(0, count);
    return count;
  }

  /** Valid until the next `receive`; `undefined` for a datagram that was larger than a slot. */
  bytes(slot: number): Buffer | undefined {
    const header = slot * HEADER.words;
    if ((this.headers[header + HEADER.flags]! & MSG_TRUNC) !== 0) return undefined;
    const lengthBytes = this.headers[header + HEADER.length]!;
    const view = this.#views[slot]!;
    if (view.length === lengthBytes) return view;
    const start = slot * this.slotBytes;
    this.#views[slot] = this.data.subarray(start, start + lengthBytes);
    return this.#views[slot];
  }

  from(slot: number): UdpPeer {
    const name = slot * NAME.words;
    return { address: textOf.get(this.names[name + NAME.address]!), port: swapped16(this.names[name]! >>> 16) };
  }

  #hasControl(slot: number): boolean {
    return this.headers[slot * HEADER.words + HEADER.controlLength]! >= CMSG_BYTES;
  }

  /** The address of ours that it was sent to. */
  localAddress(slot: number): Ipv4 | undefined {
    if (!this.#hasControl(slot)) return undefined;
    return textOf.get(this.control[slot * CONTROL.words + CONTROL.localAddress]!);
  }

  interfaceIndex(slot: number): number | undefined {
    return this.#hasControl(slot) ? this.control[slot * CONTROL.words + CONTROL.interfaceIndex] : undefined;
  }
}

export interface SendSource {
  localAddress?: Ipv4;
  /** 0: by the routing table. */
  interfaceIndex?: number;
}

/** Where the memory of bodies lies: files are sent from the same few pieces of memory again and again. */
const addresses = new WeakMap<ArrayBufferLike, number>();

function addressOfBody(body: Uint8Array): number {
  let address = addresses.get(body.buffer);
  if (address === undefined) {
    address = Number(addressOf(body)) - body.byteOffset;
    addresses.set(body.buffer, address);
  }
  return address + body.byteOffset;
}

/** Datagrams of one socket that leave together. */
export class SendBatch extends Batch {
  /** Bodies that are not copied, kept from being freed until they are sent. */
  readonly #bodies: (Uint8Array | undefined)[] = new Array<undefined>(this.slots).fill(undefined);
  #firstSlot = 0;
  #endSlot = 0;

  get count(): number {
    return this.#endSlot - this.#firstSlot;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  get isFull(): boolean {
    return this.#endSlot === this.slots;
  }

  /** Copies `head` into the next slot. `body` comes behind it and is not copied: it stays as it is until it is sent. */
  add(head: Uint8Array, body: Uint8Array | undefined, to: UdpPeer, localAddress?: Ipv4, interfaceIndex = 0): void {
    const slot = this.#endSlot++;
    const header = slot * HEADER.words;
    const iovec = slot * IOVECS_PER_SLOT * IOVEC.words;
    this.data.set(head, slot * this.slotBytes);
    this.iovecs[iovec + IOVEC.lengthBytes] = head.length;
    const hasBody = body !== undefined && body.length > 0;
    this.headers[header + HEADER.iovecCount] = hasBody ? 2 : 1;
    if (hasBody) {
      this.#bodies[slot] = body;
      writePointer(this.iovecs, iovec + IOVEC.words, addressOfBody(body));
      this.iovecs[iovec + IOVEC.words + IOVEC.lengthBytes] = body.length;
    }
    this.names[slot * NAME.words] = AF_INET | (swapped16(to.port) << 16);
    this.names[slot * NAME.words + NAME.address] = wordOf.get(to.address);
    const hasSource = localAddress !== undefined || interfaceIndex !== 0;
    this.headers[header + HEADER.controlLength] = hasSource ? CONTROL_BYTES : 0;
    if (!hasSource) return;
    const control = slot * CONTROL.words;
    this.control[control] = CMSG_BYTES;
    this.control[control + CONTROL.level] = IPPROTO_IP;
    this.control[control + CONTROL.type] = IP_PKTINFO;
    this.control[control + CONTROL.interfaceIndex] = interfaceIndex;
    this.control[control + CONTROL.localAddress] = wordOf.get(localAddress ?? IPV4_ANY);
  }

  /**
   * Sends everything. `onError` for each that could not be sent: true keeps it and those behind it for the next time, with
   * bodies copied.
   */
  flush(fd: number, onError: () => boolean): void {
    while (this.#firstSlot < this.#endSlot) {
      const first = this.headersAddress + this.#firstSlot * HEADER.words * 4;
      const sent: number = libc.sendmmsg(fd, first, this.#endSlot - this.#firstSlot, 0);
      if (sent <= 0 && onError()) {
        this.#copyBodies();
        return;
      }
      this.#firstSlot += Math.max(1, sent);
    }
    this.#firstSlot = 0;
    this.#endSlot = 0;
  }

  #copyBodies(): void {
    for (let slot = this.#firstSlot; slot < this.#endSlot; slot++) {
      const header = slot * HEADER.words;
      const iovec = slot * IOVECS_PER_SLOT * IOVEC.words;
      const body = this.#bodies[slot];
      if (body === undefined || this.headers[header + HEADER.iovecCount] === 1) continue;
      const headBytes = this.iovecs[iovec + IOVEC.lengthBytes]!;
      this.data.set(body, slot * this.slotBytes + headBytes);
      this.iovecs[iovec + IOVEC.lengthBytes] = headBytes + body.length;
      this.headers[header + HEADER.iovecCount] = 1;
    }
  }
}

/** struct sockaddr_in */
export function socketAddress(peer: UdpPeer): Buffer {
  const target = Buffer.alloc(NAME_BYTES);
  target.writeUInt16LE(AF_INET, 0);
  target.writeUInt16BE(peer.port, 2);
  target.writeUInt32BE(ipv4ToNumber(peer.address), 4);
  return target;
}
