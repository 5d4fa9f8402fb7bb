/** Sockets that tell what goes through them. */
import type { Ipv4 } from "../../bytes/addresses.ts";
import type {
  Clock,
  EthernetFrame,
  ReceivedDatagram,
  SendOptions,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../../ports.ts";
import type { SeenPacket } from "./packet-rings.ts";

export interface PacketTap {
  /** Asked for every packet, before anything is copied. `peer` is the other side. */
  wants(bytes: Uint8Array, peer: UdpPeer): boolean;
  /** Told of those that are wanted. The bytes are a copy. */
  take(packet: SeenPacket, peer: UdpPeer): void;
}

export interface TapOptions {
  sockets: UdpSockets;
  clock: Pick<Clock, "unixNs">;
  tap: PacketTap;
  /** What is kept of a datagram. */
  keptBytes(bytes: Uint8Array): number;
}

/** Where a packet came to, when the socket cannot tell: it is bound to all addresses. */
const UNKNOWN_ADDRESS = "0.0.0.0" as Ipv4;
/** A client without an address can only broadcast. */
const BROADCAST = "255.255.255.255" as Ipv4;

export function tapSockets(options: TapOptions): UdpSockets {
  return {
    async bind(binding) {
      return new TappedSocket(await options.sockets.bind(binding), binding.address, options);
    },
  };
}

class TappedSocket implements UdpSocket {
  readonly localPort: number;
  readonly #socket: UdpSocket;
  readonly #address: Ipv4;
  readonly #options: TapOptions;
  readonly sendFrame?: NonNullable<UdpSocket["sendFrame"]>;

  constructor(socket: UdpSocket, address: Ipv4, options: TapOptions) {
    this.localPort = socket.localPort;
    this.#socket = socket;
    this.#address = address;
    this.#options = options;
    if (socket.sendFrame) this.sendFrame = (frame) => this.#sendFrame(frame);
  }

  send(bytes: Uint8Array, to: UdpPeer, options?: SendOptions): void {
    if (this.#options.tap.wants(bytes, to)) {
      const from = { address: options?.localAddress ?? this.#address, port: this.localPort };
      const hardwareAddress = options?.hardwareAddress;
      this.#take("sent", bytes, from, to, to, hardwareAddress && { hardwareAddress });
    }
    this.#socket.send(bytes, to, options);
  }

  #sendFrame(frame: EthernetFrame): boolean {
    const { hardwareAddress, etherType, payload, localAddress = this.#address } = frame;
    const to = { address: UNKNOWN_ADDRESS, port: 0 };
    const from = { address: localAddress, port: 0 };
    this.#take("sent", payload, from, to, to, { hardwareAddress, etherType });
    return this.#socket.sendFrame!(frame);
  }

  onDatagram(handler: (datagram: ReceivedDatagram) => void): void {
    this.#socket.onDatagram((datagram) => {
      const { bytes, from, localAddress = this.#address } = datagram;
      if (this.#options.tap.wants(bytes, from)) {
        const address = from.address === UNKNOWN_ADDRESS ? BROADCAST : localAddress;
        this.#take("received", bytes, from, { address, port: this.localPort }, from);
      }
      handler(datagram);
    });
  }

  close(): void {
    this.#socket.close();
  }

  #take(
    direction: SeenPacket["direction"],
    bytes: Uint8Array,
    from: UdpPeer,
    to: UdpPeer,
    peer: UdpPeer,
    more?: Pick<SeenPacket, "hardwareAddress" | "etherType">,
  ): void {
    const { clock, tap, keptBytes } = this.#options;
    const unixUs = Number(clock.unixNs() / 1000n);
    const kept = Uint8Array.from(bytes.subarray(0, keptBytes(bytes)));
    tap.take({ unixUs, direction, from, to, bytes: kept, lengthBytes: bytes.length, ...more }, peer);
  }
}
