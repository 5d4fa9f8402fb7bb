/**
 * An Ethernet in memory: a switch, ports, and the faults of bad cables. For fleets that need no kernel, and for tests.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import type { Clock, EthernetPort } from "../ports.ts";
import { MAC_BROADCAST } from "./frames.ts";

export { seededChance } from "./seed.ts";

/** How a link treats frames: probabilities from 0 to 1, drawn from `chance`. */
export interface LinkFaults {
  loss: number;
  duplicate: number;
  /** Delivered this much later than those behind it. */
  late: number;
  lateMs: number;
  /** Uniform in [0, 1), from a seed, so that a failure can be had again. */
  chance(): number;
}

const LATENCY_MS = 0.1;
const ETHERNET_HEADER_BYTES = 14;

export class VirtualLan {
  readonly #clock: Clock;
  readonly #faults: LinkFaults | undefined;
  readonly #ports = new Set<LanPort>();
  readonly #learned = new Map<Mac, LanPort>();

  constructor(clock: Clock, faults?: LinkFaults) {
    this.#clock = clock;
    this.#faults = faults;
  }

  plug(): EthernetPort {
    const port = new LanPort(this);
    this.#ports.add(port);
    return port;
  }

  unplug(port: LanPort): void {
    this.#ports.delete(port);
  }

  /** A switch: to the port where the address was seen, or to all others. */
  forward(from: LanPort, frame: Uint8Array): void {
    if (frame.length < ETHERNET_HEADER_BYTES) return;
    const destination = macFromBytes(frame.subarray(0, 6));
    this.#learned.set(macFromBytes(frame.subarray(6, 12)), from);
    const known = destination === MAC_BROADCAST ? undefined : this.#learned.get(destination);
    for (const port of known === undefined ? this.#ports : [known]) {
      if (port !== from) this.#deliver(port, frame);
    }
  }

  #deliver(port: LanPort, frame: Uint8Array): void {
    const happens = (probability: number) => this.#faults !== undefined && this.#faults.chance() < probability;
    if (happens(this.#faults?.loss ?? 0)) return;
    const copies = happens(this.#faults?.duplicate ?? 0) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const delayMs = LATENCY_MS + (happens(this.#faults?.late ?? 0) ? (this.#faults?.lateMs ?? 0) : 0);
      // A copy for each: handlers may keep what they get.
      this.#clock.after(delayMs, () => port.deliver(frame.slice()));
    }
  }
}

class LanPort implements EthernetPort {
  readonly #lan: VirtualLan;
  #handler: (frame: Uint8Array) => void = () => {};

  constructor(lan: VirtualLan) {
    this.#lan = lan;
  }

  send(frame: Uint8Array): void {
    this.#lan.forward(this, frame);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  deliver(frame: Uint8Array): void {
    this.#handler(frame);
  }

  close(): void {
    this.#handler = () => {};
    this.#lan.unplug(this);
  }
}
