/**
 * Many boards behind one network card: a switch in this process, with the card as its way out. So hundreds of virtual
 * Pis need one TAP interface, or one card of a real network, and each still has a MAC of its own.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";
import { type EthernetSwitch, SwitchPort } from "./switch-port.ts";

const ADDRESS_BYTES = 6;
const HEADER_BYTES = 14;
/** Set in the first byte of broadcast and multicast addresses. */
const GROUP_BIT = 1;

export class SharedCard implements EthernetSwitch {
  readonly #card: EthernetPort;
  readonly #ports = new Set<SwitchPort>();
  readonly #owners = new Map<Mac, SwitchPort>();

  constructor(card: EthernetPort) {
    this.#card = card;
    card.onFrame((frame) => this.#deliver(frame));
  }

  /** A port for one board. The switch learns its MAC from what it sends. */
  plug(): EthernetPort {
    const port = new SwitchPort(this);
    this.#ports.add(port);
    return port;
  }

  /** From a board: to the others and out. */
  forward(from: SwitchPort, frame: Uint8Array): void {
    if (frame.length < HEADER_BYTES) return;
    this.#owners.set(macFromBytes(frame.subarray(ADDRESS_BYTES, 2 * ADDRESS_BYTES)), from);
    if (this.#deliver(frame, from)) this.#card.send(frame);
  }

  unplug(port: SwitchPort): void {
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
  #deliver(frame: Uint8Array, from?: SwitchPort): boolean {
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
