/**
 * UDP on Linux with what a boot server needs and node:dgram lacks: sockets bound to an interface, the local address of
 * each datagram in and out (IP_PKTINFO), frames to clients that have no address yet, and many datagrams in one call.
 *
 * SO_REUSEADDR is not set unless asked for: with it, a port that another program has would be shared without an error, and each would
 * get some of the packets. Sockets on different interfaces can have the same port without it.
 */
import { IPV4_BROADCAST, type Ipv4, type Mac } from "../bytes/addresses.ts";
import type {
  EthernetFrame,
  ReceivedDatagram,
  SendOptions,
  UdpBinding,
  UdpBulk,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../ports.ts";
import { bindError } from "./bind-error.ts";
import { socketAddress } from "./udp-batch.ts";
import { ipv4Packet } from "./udp-frame.ts";
import * as linux from "./udp-libc.ts";
import { findInterface, type Interface, Network, Outgoing } from "./udp-network.ts";

const { libc, lastErrorCode } = linux;

/** How long one socket may keep the event loop from everything else. */
const TURN_MS = 1;
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

class LinuxUdpSocket implements UdpSocket {
  readonly localPort: number;
  readonly #network: Network;
  readonly #binding: UdpBinding;
  readonly #fd: number;
  readonly #outgoing: Outgoing;
  #watch: linux.PollHandle | undefined;
  #handler: (datagram: ReceivedDatagram) => void = () => {};
  #bulkHandler: ((bytes: Uint8Array, from: UdpPeer) => void) | undefined;
  #isOpen = true;

  constructor(network: Network, binding: UdpBinding) {
    this.#network = network;
    this.#binding = binding;
    this.#fd = openSocket(binding);
    this.#outgoing = new Outgoing(network, this.#fd);
    this.localPort = portOf(this.#fd);
  }

  onDatagram(handler: (datagram: ReceivedDatagram) => void): void {
    this.#handler = handler;
    this.#bulkHandler = undefined;
    this.#startWatching();
  }

  #startWatching(): void {
    const drain = () => this.#drain();
    this.#watch ??= linux.watchReadable(this.#fd, () => this.#network.drainSoon(drain));
  }

  readonly bulk: UdpBulk = {
    onDatagram: (handler) => {
      this.#bulkHandler = handler;
      // Nobody asks where they came in.
      setInteger(this.#fd, linux.IPPROTO_IP, linux.IP_PKTINFO, 0);
      this.#startWatching();
    },
    send: (head, body, to, localAddress) => {
      // The socket's own address needs not be told each time.
      const source = localAddress === this.#binding.address ? undefined : localAddress;
      if (this.#isOpen) this.#outgoing.send(head, body, to, source);
    },
    flush: () => this.#outgoing.flush(),
    isFull: () => this.#outgoing.isFull,
    onRoom: (handler) => {
      this.#outgoing.onRoom = handler;
    },
    queuedBytes: () => (this.#isOpen ? linux.queuedBytes(this.#fd) : 0),
  };

  send(bytes: Uint8Array, to: UdpPeer, { hardwareAddress, localAddress }: SendOptions = {}): void {
    if (!this.#isOpen) return;
    if (!hardwareAddress) {
      this.#outgoing.send(bytes, undefined, to, localAddress);
    } else if (!this.#sendDatagramFrame(bytes, to, hardwareAddress, localAddress)) {
      this.#outgoing.send(bytes, undefined, { address: IPV4_BROADCAST, port: to.port }, localAddress);
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
    this.#outgoing.close();
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
    const endMs = performance.now() + TURN_MS;
    while (this.#isOpen) {
      const count = received.receive(this.#fd);
      if (count <= 0) return;
      this.#outgoing.tryAgain();
      for (let slot = 0; slot < count && this.#isOpen; slot++) this.#take(slot);
      // With the answers out, the next questions are often there before the event loop would look.
      this.#network.flush();
      if (performance.now() >= endMs) return;
    }
  }

  #take(slot: number): void {
    const { received } = this.#network;
    const bytes = received.bytes(slot);
    if (!bytes) return;
    if (this.#bulkHandler) {
      this.#bulkHandler(bytes, received.from(slot));
      return;
    }
    const localAddress = received.localAddress(slot);
    const interfaceIndex = received.interfaceIndex(slot);
    const interfaceName = interfaceIndex === undefined ? undefined : this.#network.interfaceName(interfaceIndex);
    this.#handler({
      bytes: Buffer.from(bytes),
      from: received.from(slot),
      ...(localAddress !== undefined && { localAddress }),
      ...(interfaceName !== undefined && { interfaceName }),
    });
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
  check(setInteger(fd, linux.IPPROTO_IP, linux.IP_PKTINFO, 1));
  // Above the system's limit where we may.
  if (setInteger(fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES) < 0) {
    check(setInteger(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, RECEIVE_BUFFER_BYTES));
  }
  if (binding.shared) check(setInteger(fd, linux.SOL_SOCKET, linux.SO_REUSEADDR, 1));
  if (binding.broadcast) check(setInteger(fd, linux.SOL_SOCKET, linux.SO_BROADCAST, 1));
  if (binding.interfaceName !== undefined) {
    const name = Buffer.from(`${binding.interfaceName}\0`);
    check(libc.setsockopt(fd, linux.SOL_SOCKET, linux.SO_BINDTODEVICE, name, name.length));
  }
  const address = socketAddress(binding);
  check(libc.bind(fd, address, address.length));
  return fd;
}

/** As setsockopt(2): -1 when it fails. */
function setInteger(fd: number, level: number, name: number, value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return libc.setsockopt(fd, level, name, bytes, bytes.length);
}

function portOf(fd: number): number {
  const address = Buffer.alloc(16);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  libc.getsockname(fd, address, length);
  return address.readUInt16BE(2);
}
