/**
 * Many boards behind one network card: a switch in this process, with the card as its way out. So hundreds of virtual
 * Pis need one TAP interface, or one card of a real network, and each still has a MAC of its own.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";

const ADDRESS_BYTES = 6;
const HEADER_BYTES = 14;
/** Set in the first byte of broadcast and multicast addresses. */
const GROUP_BIT = 1;

export class SharedCard {
  readonly #card: EthernetPort;
  readonly #ports = new Set<BoardPort>();
  readonly #owners = new Map<Mac, BoardPort>();

  constructor(card: EthernetPort) {
    this.#card = card;
    card.onFrame((frame) => this.#deliver(frame));
  }

  /** A port for one board. The switch learns its MAC from what it sends. */
  plug(): EthernetPort {
    const port = new BoardPort(this);
    this.#ports.add(port);
    return port;
  }

  /** From a board: to the others and out. */
  forward(from: BoardPort, frame: Uint8Array): void {
    if (frame.length < HEADER_BYTES) return;
    this.#owners.set(macFromBytes(frame.subarray(ADDRESS_BYTES, 2 * ADDRESS_BYTES)), from);
    if (this.#deliver(frame, from)) this.#card.send(frame);
  }

  unplug(port: BoardPort): void {
    this.#ports.delete(port);
    for (const [mac, owner] of this.#owners) if (owner === port) this.#owners.delete(mac);
  }

  /** The card is free when that is done. */
  close(): Promise<void> {
    this.#ports.clear();
    this.#owners.clear();
    return Promise.resolve(this.#card.close());
  }

  /** True when the frame concerns the world outside as well. */
  #deliver(frame: Uint8Array, from?: BoardPort): boolean {
    if (frame.length < HEADER_BYTES) return false;
    if ((frame[0]! & GROUP_BIT) !== 0) {
      for (const port of [...this.#ports]) if (port !== from) port.deliver(frame);
      return true;
    }
    const owner = this.#owners.get(macFromBytes(frame.subarray(0, ADDRESS_BYTES)));
    if (owner === undefined) return true;
    if (owner !== from) owner.deliver(frame);
    return false;
  }
}

class BoardPort implements EthernetPort {
  readonly #card: SharedCard;
  #handler: (frame: Uint8Array) => void = () => {};

  constructor(card: SharedCard) {
    this.#card = card;
  }

  send(frame: Uint8Array): void {
    this.#card.forward(this, frame);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  deliver(frame: Uint8Array): void {
    this.#handler(frame);
  }

  close(): void {
    this.#handler = () => {};
    this.#card.unplug(this);
  }
}
