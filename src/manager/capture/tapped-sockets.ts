/** Sockets that tell what goes through them, at the cost of one question a packet. */
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4 } from "../../bytes/addresses.ts";
import type {
  Clock,
  EthernetFrame,
  ReceivedDatagram,
  SendOptions,
  UdpBulk,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../../ports.ts";
import type { SeenPacket } from "./packet-rings.ts";

export interface PacketTap {
  /** Asked for every datagram, before anything is copied. `head` is its beginning or all of it, `peer` the other side. */
  wants(head: Uint8Array, lengthBytes: number, peer: UdpPeer): boolean;
  /** Told of those that are wanted. The bytes are a copy. */
  take(packet: SeenPacket, peer: UdpPeer): void;
}

export interface TapOptions {
  sockets: UdpSockets;
  clock: Pick<Clock, "unixNs">;
  tap: PacketTap;
  /** How much is kept of a datagram that begins so. */
  keptBytes(head: Uint8Array): number;
}

export function tapSockets(options: TapOptions): UdpSockets {
  return {
    async bind(binding) {
      return new TappedSocket(await options.sockets.bind(binding), binding.address, options);
    },
  };
}

/** Clients of which it is remembered which address of ours they know. */
const CLIENTS_MAX = 1024;
const NOTHING = new Uint8Array(0);

class TappedSocket implements UdpSocket {
  readonly localPort: number;
  readonly sendFrame?: NonNullable<UdpSocket["sendFrame"]>;
  readonly bulk?: UdpBulk;
  readonly #socket: UdpSocket;
  readonly #address: Ipv4;
  readonly #options: TapOptions;
  /** Which address of ours a client was answered from, for what does not say where it came to. */
  readonly #ownAddresses = new Map<Ipv4, Ipv4>();

  constructor(socket: UdpSocket, address: Ipv4, options: TapOptions) {
    this.localPort = socket.localPort;
    this.#socket = socket;
    this.#address = address;
    this.#options = options;
    if (socket.sendFrame) this.sendFrame = (frame) => this.#sendFrame(frame);
    if (socket.bulk) this.bulk = this.#tapBulk(socket.bulk);
  }

  send(bytes: Uint8Array, to: UdpPeer, options?: SendOptions): void {
    if (this.#options.tap.wants(bytes, bytes.length, to)) this.#takeSent(bytes, NOTHING, to, options);
    this.#socket.send(bytes, to, options);
  }

  onDatagram(handler: (datagram: ReceivedDatagram) => void): void {
    this.#socket.onDatagram((datagram) => {
      const { bytes, from, localAddress } = datagram;
      if (this.#options.tap.wants(bytes, bytes.length, from)) this.#takeReceived(bytes, from, localAddress);
      handler(datagram);
    });
  }

  close(): void {
    this.#socket.close();
  }

  /** Some 100,000 packets a second come by here that nobody wants to keep: nothing is made for them. */
  #tapBulk(bulk: UdpBulk): UdpBulk {
    const { tap } = this.#options;
    return {
      onDatagram: (handler) =>
        bulk.onDatagram((bytes, from) => {
          if (tap.wants(bytes, bytes.length, from)) this.#takeReceived(bytes, from, undefined);
          handler(bytes, from);
        }),
      send: (head, body, to, localAddress) => {
        if (tap.wants(head, head.length + body.length, to)) {
          this.#takeSent(head, body, to, localAddress ? { localAddress } : {});
        }
        bulk.send(head, body, to, localAddress);
      },
      flush: () => bulk.flush(),
      isFull: () => bulk.isFull(),
      onRoom: (handler) => bulk.onRoom(handler),
      queuedBytes: () => bulk.queuedBytes(),
    };
  }

  #sendFrame(frame: EthernetFrame): boolean {
    const { hardwareAddress, etherType, payload, localAddress = this.#address } = frame;
    const to = { address: IPV4_ANY, port: 0 };
    const from = { address: localAddress, port: 0 };
    this.#take({ direction: "sent", from, to, hardwareAddress, etherType }, payload, NOTHING, to);
    return this.#socket.sendFrame!(frame);
  }

  #takeSent(head: Uint8Array, body: Uint8Array, to: UdpPeer, options: SendOptions = {}): void {
    const { hardwareAddress, localAddress = this.#address } = options;
    if (this.#ownAddresses.size >= CLIENTS_MAX) this.#ownAddresses.clear();
    this.#ownAddresses.set(to.address, localAddress);
    const from = { address: localAddress, port: this.localPort };
    this.#take({ direction: "sent", from, to, ...(hardwareAddress && { hardwareAddress }) }, head, body, to);
  }

  #takeReceived(bytes: Uint8Array, from: UdpPeer, localAddress: Ipv4 | undefined): void {
    const own = localAddress ?? this.#ownAddresses.get(from.address) ?? this.#address;
    // A client without an address can only broadcast.
    const to = { address: from.address === IPV4_ANY ? IPV4_BROADCAST : own, port: this.localPort };
    this.#take({ direction: "received", from, to }, bytes, NOTHING, from);
  }

  #take(
    packet: Omit<SeenPacket, "unixUs" | "bytes" | "lengthBytes">,
    head: Uint8Array,
    body: Uint8Array,
    peer: UdpPeer,
  ): void {
    const { clock, tap, keptBytes } = this.#options;
    const kept = Math.min(keptBytes(head), head.length + body.length);
    const bytes = new Uint8Array(kept);
    bytes.set(head.subarray(0, kept));
    if (kept > head.length) bytes.set(body.subarray(0, kept - head.length), head.length);
    const unixUs = Number(clock.unixNs() / 1000n);
    tap.take({ ...packet, unixUs, bytes, lengthBytes: head.length + body.length }, peer);
  }
}
