/** A port of a switch in this process, as the board behind it has it. */
import type { EthernetPort } from "../ports.ts";

export interface EthernetSwitch {
  forward(from: SwitchPort, frame: Uint8Array): void;
  unplug(port: SwitchPort): void;
}

export class SwitchPort implements EthernetPort {
  readonly #switch: EthernetSwitch;
  #handler: (frame: Uint8Array) => void = () => {};

  constructor(ethernetSwitch: EthernetSwitch) {
    this.#switch = ethernetSwitch;
  }

  send(frame: Uint8Array): void {
    this.#switch.forward(this, frame);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  /** From the switch to the board. */
  deliver(frame: Uint8Array): void {
    this.#handler(frame);
  }

  close(): void {
    this.#handler = () => {};
    this.#switch.unplug(this);
  }
}
