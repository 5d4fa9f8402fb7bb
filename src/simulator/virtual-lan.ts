/**
 * An Ethernet in memory: a switch and its ports. For fleets that need no kernel, and for tests. What goes wrong on it is a
 * wrapper around a port: faults/frame-faults.ts.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import type { Clock, EthernetPort } from "../ports.ts";
import { MAC_BROADCAST } from "./frames.ts";
import { type EthernetSwitch, SwitchPort } from "./switch-port.ts";

const LATENCY_MS = 0.1;
const ETHERNET_HEADER_BYTES = 14;

export class VirtualLan implements EthernetSwitch {
  readonly #clock: Clock;
  readonly #ports = new Set<SwitchPort>();
  readonly #learned = new Map<Mac, SwitchPort>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  plug(): EthernetPort {
    const port = new SwitchPort(this);
    this.#ports.add(port);
    return port;
  }

  unplug(port: SwitchPort): void {
    this.#ports.delete(port);
  }

  /** A switch: to the port where the address was seen, or to all others. */
  forward(from: SwitchPort, frame: Uint8Array): void {
    if (frame.length < ETHERNET_HEADER_BYTES) return;
    const destination = macFromBytes(frame.subarray(0, 6));
    this.#learned.set(macFromBytes(frame.subarray(6, 12)), from);
    const known = destination === MAC_BROADCAST ? undefined : this.#learned.get(destination);
    for (const port of known === undefined ? this.#ports : [known]) {
      if (port !== from) this.#deliver(port, frame);
    }
  }

  #deliver(port: SwitchPort, frame: Uint8Array): void {
    // A copy for each: handlers may keep what they get.
    this.#clock.after(LATENCY_MS, () => port.deliver(frame.slice()));
  }
}
