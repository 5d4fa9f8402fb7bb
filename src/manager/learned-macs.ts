/**
 * The hardware addresses of nodes that the manifest names by serial number alone. Only the boot loader tells both, so
 * they must outlive the manager: after a restart, a node that has been running all the while is known by its MAC.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Mac } from "../bytes/addresses.ts";
import { writeFileAtomically } from "../system/atomic-file.ts";

/** By serial number: the last one seen counts, as for a board that was replaced. */
export class LearnedMacs {
  readonly #path: string;
  readonly #onError: (message: string) => void;
  readonly #macs: Map<string, Mac>;

  constructor(path: string, onError: (message: string) => void) {
    this.#path = path;
    this.#onError = onError;
    const text = existsSync(path) ? readFileSync(path, "utf8") : "{}";
    this.#macs = new Map(Object.entries(JSON.parse(text) as Record<string, Mac>));
  }

  get(serial: string): Mac | undefined {
    return this.#macs.get(serial);
  }

  set(serial: string, mac: Mac): void {
    if (this.#macs.get(serial) === mac) return;
    this.#macs.set(serial, mac);
    try {
      writeFileAtomically(this.#path, `${JSON.stringify(Object.fromEntries(this.#macs), null, 1)}\n`);
    } catch (error) {
      // The node boots all the same: until the next restart its address is known.
      this.#onError(`Cannot remember the MAC address ${mac} of serial number ${serial}: ${(error as Error).message}`);
    }
  }
}
