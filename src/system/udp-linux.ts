/**
 * UDP on Linux with what a boot server needs and node:dgram lacks: sockets bound to an interface, the local address of
 * each datagram in and out (IP_PKTINFO), frames to clients that have no address yet, and many datagrams in one call.
 *
 * SO_REUSEADDR is not set: with it, a port that another program has would be shared without an error, and each would
 * get some of the packets. Sockets on different interfaces can have the same port without it.
 */
import os from "node:os";
import { IPV4_BROADCAST, type Ipv4, ipv4ToNumber, type Mac, macToBytes } from "../bytes/addresses.ts";
import type {
  EthernetFrame,
  ReceivedDatagram,
  SendOptions,
  UdpBinding,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../ports.ts";
import { bindError } from "./bind-error.ts";
import { ReceiveBatch, SendBatch, socketAddress } from "./udp-batch.ts";
import { ipv4Packet } from "./udp-frame.ts";
import * as linux from "./udp-libc.ts";

const { libc, lastErrorCode } = linux;

/** Datagrams in one call. Larger batches were no faster. */
const BATCH_DATAGRAMS = 32;
/** A datagram of one Ethernet frame, with room. What is larger is received never and sent one by one. */
const SLOT_BYTES = 2048;
const DATAGRAM_BYTES_MAX = 65507;
/** Batches read from one socket before the others have their turn. */
const ROUNDS_MAX = 8;
/** Enough acknowledgements for thousands of transfers while the event loop is busy. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export interface LinuxUdpOptions {
  /** A datagram could not be sent. UDP promises nothing, so callers need not know; people may want to. */
  onSendError?(error: Error): void;
}

export function linuxUdpSockets({ onSendError = () => {} }: LinuxUdpOptions = {}): UdpSockets {
  const network = new Network(onSendError);
  return { bind: async (binding) => new LinuxUdpSocket(network, binding) };
}

/** What all sockets share: the batches and the packet socket. */
class Network {
  readonly received = new ReceiveBatch(BATCH_DATAGRAMS, SLOT_BYTES);
  readonly #outgoing = new SendBatch(BATCH_DATAGRAMS, SLOT_BYTES);
  readonly #interfaceNames = new Map<number, string>();
  readonly #onSendError: (error: Error) => void;
  readonly #toDrain = new Set<() => void>();
  #large: SendBatch | undefined;
  #isFlushScheduled = false;
  #packetSocket: number | undefined;

  constructor(onSendError: (error: Error) => void) {
    this.#onSendError = onSendError;
  }

  send(fd: number, bytes: Uint8Array, to: UdpPeer, localAddress: Ipv4 | undefined): void {
    // The limited broadcast follows no route: it leaves by the interface that has the source address.
    const interfaceIndex = to.address === IPV4_BROADCAST && localAddress ? indexOfAddress(localAddress) : 0;
    const source = { ...(localAddress && { localAddress }), interfaceIndex };
    if (!this.#outgoing.fits(bytes)) {
      this.flush();
      this.#large ??= new SendBatch(1, DATAGRAM_BYTES_MAX);
      this.#large.add(fd, bytes, to, source);
      this.#large.flush(() => this.report(`send ${bytes.length} bytes to ${to.address}`));
      return;
    }
    if (this.#outgoing.isFull) this.flush();
    this.#outgoing.add(fd, bytes, to, source);
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    queueMicrotask(() => {
      this.#isFlushScheduled = false;
      this.flush();
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

  /** Sends what waits. A socket must call it before it closes. */
  flush(): void {
    this.#outgoing.flush(() => this.report("send a datagram"));
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

class LinuxUdpSocket implements UdpSocket {
  readonly localPort: number;
  readonly #network: Network;
  readonly #binding: UdpBinding;
  readonly #fd: number;
  #watch: linux.PollHandle | undefined;
  #handler: (datagram: ReceivedDatagram) => void = () => {};
  #isOpen = true;

  constructor(network: Network, binding: UdpBinding) {
    this.#network = network;
    this.#binding = binding;
    this.#fd = openSocket(binding);
    this.localPort = portOf(this.#fd);
  }

  onDatagram(handler: (datagram: ReceivedDatagram) => void): void {
    this.#handler = handler;
    const drain = () => this.#drain();
    this.#watch ??= linux.watchReadable(this.#fd, () => this.#network.drainSoon(drain));
  }

  send(bytes: Uint8Array, to: UdpPeer, { hardwareAddress, localAddress }: SendOptions = {}): void {
    if (!this.#isOpen) return;
    if (!hardwareAddress) {
      this.#network.send(this.#fd, bytes, to, localAddress);
    } else if (!this.#sendDatagramFrame(bytes, to, hardwareAddress, localAddress)) {
      this.#network.send(this.#fd, bytes, { address: IPV4_BROADCAST, port: to.port }, localAddress);
    }
  }

  sendFrame({ hardwareAddress, etherType, payload, localAddress }: EthernetFrame): boolean {
    if (!this.#isOpen) return false;
    const via = this.#interfaceFor((entry) => entry.address === localAddress);
    if (!via) return false;
    return this.#network.sendFrame(payload, libc.if_nametoindex(via.name), hardwareAddress, etherType);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#network.flush();
    this.#watch?.close();
    libc.close(this.#fd);
  }

  /** The one it is bound to, else the first that matches. Not loopback: it drops frames to others' hardware addresses. */
  #interfaceFor(matches: (entry: Interface) => boolean): Interface | undefined {
    const { interfaceName } = this.#binding;
    const isIt = interfaceName === undefined ? matches : (entry: Interface) => entry.name === interfaceName;
    return findInterface((entry) => !entry.isLoopback && isIt(entry));
  }

  #sendDatagramFrame(bytes: Uint8Array, to: UdpPeer, hardwareAddress: Mac, localAddress: Ipv4 | undefined): boolean {
    const { address } = this.#binding;
    const via = this.#interfaceFor((entry) => entry.address === localAddress || entry.holds(to.address));
    if (!via) return false;
    const source = localAddress ?? (address === "0.0.0.0" ? via.address : address);
    const packet = ipv4Packet({ address: source, port: this.localPort }, to, bytes);
    return this.#network.sendFrame(packet, libc.if_nametoindex(via.name), hardwareAddress);
  }

  #drain(): void {
    const { received } = this.#network;
    for (let round = 0; this.#isOpen && round < ROUNDS_MAX; round++) {
      const count = received.receive(this.#fd);
      for (let slot = 0; slot < count && this.#isOpen; slot++) {
        const datagram = received.datagram(slot);
        if (!datagram) continue;
        const { interfaceIndex, ...rest } = datagram;
        const interfaceName = interfaceIndex === undefined ? undefined : this.#network.interfaceName(interfaceIndex);
        this.#handler(interfaceName === undefined ? rest : { ...rest, interfaceName });
      }
      if (count <= 0) return;
      // With the answers out, the next questions are often there before the event loop would look.
      this.#network.flush();
    }
  }
}

/** Throws `BindError`. */
function openSocket(binding: UdpBinding): number {
  const fd = libc.socket(linux.AF_INET, linux.SOCK_DGRAM | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC, 0);
  if (fd < 0) throw bindError("udp", binding, lastErrorCode());
  const check = (result: number) => {
    if (result >= 0) return;
    const code = lastErrorCode();
    libc.close(fd);
    throw bindError("udp", binding, code);
  };
  const setInteger = (level: number, name: number, value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    check(libc.setsockopt(fd, level, name, bytes, bytes.length));
  };
  setInteger(linux.IPPROTO_IP, linux.IP_PKTINFO, 1);
  setInteger(linux.SOL_SOCKET, linux.SO_RCVBUF, RECEIVE_BUFFER_BYTES);
  if (binding.broadcast) setInteger(linux.SOL_SOCKET, linux.SO_BROADCAST, 1);
  if (binding.interfaceName !== undefined) {
    const name = Buffer.from(`${binding.interfaceName}\0`);
    check(libc.setsockopt(fd, linux.SOL_SOCKET, linux.SO_BINDTODEVICE, name, name.length));
  }
  const address = socketAddress(binding);
  check(libc.bind(fd, address, address.length));
  return fd;
}

function portOf(fd: number): number {
  const address = Buffer.alloc(16);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  libc.getsockname(fd, address, length);
  return address.readUInt16BE(2);
}

interface Interface {
  name: string;
  isLoopback: boolean;
  address: Ipv4;
  holds(address: Ipv4): boolean;
}

function findInterface(matches: (entry: Interface) => boolean): Interface | undefined {
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
