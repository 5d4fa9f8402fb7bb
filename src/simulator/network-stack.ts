/**
 * The network stack of a virtual Pi: frames in, frames out, one address, UDP only.
 *
 * It does what the boot loader does (rpi-eeprom's log strings name each step): answers ARP requests for its own
 * address, asks ARP for the server or, when that is not on the link, for the router, and drops what is broken.
 */
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4, ipv4ToNumber, type Mac, macToBytes } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Clock } from "../ports.ts";
import {
  type ArpMessage,
  decodeFrame,
  encodeArp,
  encodeUdp,
  MAC_BROADCAST,
  type UdpHeaders,
  type UdpMessage,
} from "./frames.ts";

const MAC_UNKNOWN = "00:00:00:00:00:00" as Mac;
/** The boot loader's buffer is 1500 bytes (rpi-eeprom issue 475): no jumbo frames, no VLAN tag on top of a full one. */
const FRAME_BYTES_MAX = 1514;
/** Chosen: the boot loader's own interval is not known. */
const ARP_RETRY_MS = 1000;
const ARP_TRIES = 5;

export interface AddressSettings {
  address: Ipv4;
  netmask: Ipv4;
  router?: Ipv4;
}

export interface OutgoingDatagram {
  sourcePort: number;
  to: { address: Ipv4; port: number };
  bytes: Uint8Array;
}

export interface NetworkStackSettings {
  mac: Mac;
  clock: Clock;
  transmit(frame: Uint8Array): void;
  /** Of what it sends; by default as captures of Pis have it. */
  packets?: UdpHeaders;
}

export class NetworkStack {
  readonly mac: Mac;
  readonly #macBytes: Uint8Array;
  readonly #clock: Clock;
  readonly #transmit: (frame: Uint8Array) => void;
  readonly #packets: UdpHeaders | undefined;
  #settings: AddressSettings | undefined;
  readonly #neighbours = new Map<Ipv4, Mac>();
  readonly #waitingForArp = new Map<Ipv4, (mac: Mac) => void>();
  readonly #listeners = new Map<number, (datagram: UdpMessage) => void>();
  #onAnyFrame: () => void = () => {};
  /** Some programs are deaf to others' ARP requests while they load files. */
  answersArp = true;

  constructor(settings: NetworkStackSettings) {
    this.mac = settings.mac;
    this.#macBytes = macToBytes(settings.mac);
    this.#clock = settings.clock;
    this.#transmit = settings.transmit;
    this.#packets = settings.packets;
  }

  configure(settings: AddressSettings): void {
    this.#settings = settings;
  }

  /** Takes one frame from the wire. Whatever is not for us or is broken is dropped, as the Pi drops it. */
  receive(bytes: Uint8Array): void {
    if (bytes.length > FRAME_BYTES_MAX || !this.#isForUs(bytes)) return;
    try {
      const frame = decodeFrame(bytes);
      if (frame.kind === "arp") this.#receiveArp(frame);
      if (frame.kind === "udp" && this.#isOwn(frame.to.address)) this.#listeners.get(frame.to.port)?.(frame);
      this.#onAnyFrame();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }

  /** What a network card decides: its own address, or broadcast. */
  #isForUs(frame: Uint8Array): boolean {
    let isOwn = true;
    let isBroadcast = true;
    for (let at = 0; at < this.#macBytes.length; at++) {
      isOwn &&= frame[at] === this.#macBytes[at];
      isBroadcast &&= frame[at] === 0xff;
    }
    return isOwn || isBroadcast;
  }

  /** Before it has an address the Pi takes any: DHCP servers send the OFFER to the address they offer. */
  #isOwn(address: Ipv4): boolean {
    return this.#settings === undefined || address === this.#settings.address || address === IPV4_BROADCAST;
  }

  #receiveArp(message: ArpMessage): void {
    const own = this.#settings?.address;
    if (own === undefined || message.targetAddress !== own) return;
    this.#neighbours.set(message.senderAddress, message.senderMac);
    this.#waitingForArp.get(message.senderAddress)?.(message.senderMac);
    if (message.operation === "request" && this.answersArp) {
      const reply = {
        operation: "reply",
        senderMac: this.mac,
        senderAddress: own,
        targetMac: message.senderMac,
        targetAddress: message.senderAddress,
      } as const;
      this.#transmit(encodeArp(reply, message.senderMac));
    }
  }

  /** One listener per port; returns how to stop listening. */
  listen(port: number, handler: (datagram: UdpMessage) => void): () => void {
    this.#listeners.set(port, handler);
    return () => this.#listeners.delete(port);
  }

  /** Called after each frame that the network card takes, whatever is in it. */
  onAnyFrame(handler: () => void): void {
    this.#onAnyFrame = handler;
  }

  /** As if ARP had found it. */
  learn(address: Ipv4, mac: Mac): void {
    this.#neighbours.set(address, mac);
  }

  sendBroadcast(datagram: { sourcePort: number; port: number; bytes: Uint8Array }): void {
    const from = { address: this.#settings?.address ?? IPV4_ANY, port: datagram.sourcePort };
    const to = { address: IPV4_BROADCAST, port: datagram.port };
    this.#transmit(encodeUdp({ sourceMac: this.mac, from, to, bytes: datagram.bytes }, MAC_BROADCAST, this.#packets));
  }

  /** An Ethernet frame of any kind. */
  sendFrame(destination: Mac, etherType: number, payload: Uint8Array): void {
    const type = Uint8Array.of(etherType >> 8, etherType & 0xff);
    this.#transmit(Buffer.concat([macToBytes(destination), macToBytes(this.mac), type, payload]));
  }

  /** To `hardwareAddress`, or to a peer known by ARP; silently nothing otherwise, as on a real wire. */
  send(datagram: OutgoingDatagram, hardwareAddress?: Mac): void {
    const own = this.#settings;
    const destination = hardwareAddress ?? (own && this.#neighbours.get(nextHop(own, datagram.to.address)));
    if (own === undefined || destination === undefined) return;
    const from = { address: own.address, port: datagram.sourcePort };
    this.#transmit(
      encodeUdp({ sourceMac: this.mac, from, to: datagram.to, bytes: datagram.bytes }, destination, this.#packets),
    );
  }

  /** Finds the hardware address packets for `address` go to (its own, or the router's); `undefined` if nobody answers. */
  async resolve(address: Ipv4, triesMax = ARP_TRIES): Promise<Mac | undefined> {
    const own = this.#settings;
    if (own === undefined) return undefined;
    const target = nextHop(own, address);
    for (let attempt = 0; attempt < triesMax && !this.#neighbours.has(target); attempt++) {
      const request = {
        operation: "request",
        senderMac: this.mac,
        senderAddress: own.address,
        targetMac: MAC_UNKNOWN,
        targetAddress: target,
      } as const;
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(ARP_RETRY_MS, resolve);
        this.#waitingForArp.set(target, () => {
          timer.cancel();
          resolve();
        });
        this.#transmit(encodeArp(request, MAC_BROADCAST));
      });
    }
    this.#waitingForArp.delete(target);
    return this.#neighbours.get(target);
  }
}

function nextHop(own: AddressSettings, address: Ipv4): Ipv4 {
  const mask = ipv4ToNumber(own.netmask);
  const onLink = (ipv4ToNumber(address) & mask) === (ipv4ToNumber(own.address) & mask);
  return onLink || own.router === undefined ? address : own.router;
}
