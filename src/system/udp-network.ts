/** What the UDP sockets of this process share on Linux, and how each of them gathers what it sends. */
import os from "node:os";
import { IPV4_BROADCAST, type Ipv4, ipv4ToNumber, type Mac, macToBytes } from "../bytes/addresses.ts";
import type { UdpPeer } from "../ports.ts";
import { ReceiveBatch, SendBatch } from "./udp-batch.ts";
import * as linux from "./udp-libc.ts";

const { libc, lastErrorCode } = linux;

/** Datagrams in one call. Larger batches were no faster. */
const BATCH_DATAGRAMS = 32;
/** A datagram of one Ethernet frame, with room. What is larger is received never and sent one by one. */
const SLOT_BYTES = 2048;
const DATAGRAM_BYTES_MAX = 65507;
/** When to try again after the kernel took no more, should nothing come in before. */
const ROOM_MS = 1;

/** What all sockets share: the memory to receive into, the turn of the event loop, the packet socket. */
export class Network {
  readonly received = new ReceiveBatch(BATCH_DATAGRAMS, SLOT_BYTES);
  readonly #interfaceNames = new Map<number, string>();
  readonly #onSendError: (error: Error) => void;
  readonly #toDrain = new Set<() => void>();
  readonly #toFlush = new Set<Outgoing>();
  #large: SendBatch | undefined;
  #packetSocket: number | undefined;

  constructor(onSendError: (error: Error) => void) {
    this.#onSendError = onSendError;
  }

  /** What is larger than most, one by one. */
  sendLarge(fd: number, bytes: Uint8Array, to: UdpPeer, localAddress: Ipv4 | undefined, interfaceIndex: number): void {
    this.#large ??= new SendBatch(1, DATAGRAM_BYTES_MAX);
    this.#large.add(bytes, undefined, to, localAddress, interfaceIndex);
    this.#large.flush(fd, () => {
      this.report(`send ${bytes.length} bytes to ${to.address}`);
      return false;
    });
  }

  /**
   * All sockets that became readable in one turn of the event loop are drained in the immediate after it, and their
   * answers leave together.
   */
  drainSoon(drain: () => void): void {
    if (this.#toDrain.size === 0) {
      setImmediate(() => {
        const drains = [...this.#toDrain];
        this.#toDrain.clear();
        for (const each of drains) each();
      });
    }
    this.#toDrain.add(drain);
  }

  /** When this turn of the event loop is over, what waits leaves. */
  flushSoon(outgoing: Outgoing): void {
    if (this.#toFlush.size === 0) queueMicrotask(() => this.flush());
    this.#toFlush.add(outgoing);
  }

  flush(): void {
    // Whoever is told that there is room sends more.
    const waiting = [...this.#toFlush];
    this.#toFlush.clear();
    for (const outgoing of waiting) outgoing.flush();
  }

  /** False when it cannot: no right to packet sockets, or no interface to send by. */
  sendFrame(bytes: Uint8Array, interfaceIndex: number, hardwareAddress: Mac, etherType = linux.ETH_P_IP): boolean {
    this.#packetSocket ??= libc.socket(linux.AF_PACKET, linux.SOCK_DGRAM | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC, 0);
    if (this.#packetSocket === undefined || this.#packetSocket < 0) {
      this.report("open a packet socket (this needs the capability CAP_NET_RAW; broadcasting instead)");
      return false;
    }
    const address = linkAddress(interfaceIndex, hardwareAddress, etherType);
    if (libc.sendto(this.#packetSocket, bytes, bytes.length, 0, address, address.length) >= 0) return true;
    this.report(`send a frame to ${hardwareAddress}`);
    return false;
  }

  interfaceName(index: number): string | undefined {
    const known = this.#interfaceNames.get(index);
    if (known !== undefined) return known;
    const name = Buffer.alloc(16);
    if (!libc.if_indextoname(index, name)) return undefined;
    const text = name.toString("latin1", 0, name.indexOf(0));
    this.#interfaceNames.set(index, text);
    return text;
  }

  report(what: string): void {
    const code = lastErrorCode();
    // A full send buffer is loss like any other.
    if (code !== "EAGAIN") this.#onSendError(Object.assign(new Error(`Cannot ${what}: ${code}`), { code }));
  }
}

/** What one socket sends, gathered into few system calls. */
export class Outgoing {
  readonly #network: Network;
  readonly #fd: number;
  /** Twice as many as leave in one call: while the kernel takes none, there is room for those that nobody holds back. */
  readonly #batch = new SendBatch(2 * BATCH_DATAGRAMS, SLOT_BYTES);
  /** Set for sockets that keep what the kernel does not take now. */
  onRoom: (() => void) | undefined;
  #isBlocked = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(network: Network, fd: number) {
    this.#network = network;
    this.#fd = fd;
  }

  get isFull(): boolean {
    return this.#isBlocked;
  }

  send(head: Uint8Array, body: Uint8Array | undefined, to: UdpPeer, localAddress: Ipv4 | undefined): void {
    // The limited broadcast follows no route: it leaves by the interface that has the source address.
    const interfaceIndex = to.address === IPV4_BROADCAST && localAddress ? indexOfAddress(localAddress) : 0;
    if (head.length + (body?.length ?? 0) > SLOT_BYTES) {
      this.flush();
      const bytes = body ? Buffer.concat([head, body]) : head;
      this.#network.sendLarge(this.#fd, bytes, to, localAddress, interfaceIndex);
      return;
    }
    // The kernel takes nothing, and whoever sends does not ask.
    if (this.#batch.isFull) return;
    if (this.#batch.isEmpty) this.#network.flushSoon(this);
    this.#batch.add(head, body, to, localAddress, interfaceIndex);
    // At once, so that whoever sends the next knows whether there is room.
    if (!this.#isBlocked && this.#batch.count >= BATCH_DATAGRAMS) this.flush();
  }

  flush(): void {
    if (this.#batch.isEmpty) return;
    const wasBlocked = this.#isBlocked;
    this.#isBlocked = false;
    this.#batch.flush(this.#fd, () => {
      const code = lastErrorCode();
      this.#isBlocked = code === "EAGAIN" && this.onRoom !== undefined;
      if (!this.#isBlocked) this.#network.report("send a datagram");
      return this.#isBlocked;
    });
    if (this.#isBlocked) this.#retry ??= setTimeout(() => this.#tryAgain(), ROOM_MS);
    else if (wasBlocked) this.onRoom?.();
  }

  /** What comes in is a sign that something has gone out. */
  tryAgain(): void {
    if (this.#isBlocked) this.#tryAgain();
  }

  #tryAgain(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.flush();
  }

  close(): void {
    this.flush();
    clearTimeout(this.#retry);
  }
}

export interface Interface {
  name: string;
  isLoopback: boolean;
  address: Ipv4;
  holds(address: Ipv4): boolean;
}

export function findInterface(matches: (entry: Interface) => boolean): Interface | undefined {
  return Object.entries(os.networkInterfaces())
    .flatMap(([name, addresses = []]) =>
      addresses
        .filter(({ family }) => family === "IPv4")
        .map((entry): Interface => {
          const mask = ipv4ToNumber(entry.netmask as Ipv4);
          const network = ipv4ToNumber(entry.address as Ipv4) & mask;
          const holds = (address: Ipv4) => (ipv4ToNumber(address) & mask) === network;
          return { name, isLoopback: entry.internal, address: entry.address as Ipv4, holds };
        }),
    )
    .find(matches);
}

function indexOfAddress(address: Ipv4): number {
  const found = findInterface((entry) => entry.address === address);
  return found ? libc.if_nametoindex(found.name) : 0;
}

/** struct sockaddr_ll: the kernel writes the Ethernet header from it. */
function linkAddress(interfaceIndex: number, hardwareAddress: Mac, etherType: number): Buffer {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(linux.AF_PACKET, 0);
  address.writeUInt16BE(etherType, 2);
  address.writeInt32LE(interfaceIndex, 4);
  address.writeUInt8(6, 11);
  address.set(macToBytes(hardwareAddress), 12);
  return address;
}
