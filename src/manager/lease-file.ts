/**
 * DHCP leases, kept so that a restart never gives one address to two clients. The file is small (one line for each
 * address), so it is replaced whole; saves that arrive while one is being written share the next.
 */
import { readFile } from "node:fs/promises";
import type { Lease, LeaseStore } from "../dhcp/policy.ts";
import { writeFileAtomically } from "../system/atomic-file.ts";

export class LeaseFile implements LeaseStore {
  readonly #path: string;
  readonly #leases = new Map<string, Lease>();
  #nextWrite: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<Lease[]> {
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "[]";
      throw error;
    });
    for (const lease of JSON.parse(text) as Lease[]) this.#leases.set(lease.address, lease);
    return [...this.#leases.values()];
  }

  save(lease: Lease): Promise<void> {
    this.#leases.set(lease.address, lease);
    this.#nextWrite ??= Promise.resolve().then(() => {
      this.#nextWrite = undefined;
      writeFileAtomically(this.#path, `${JSON.stringify([...this.#leases.values()], null, 1)}\n`, 0o600);
    });
    return this.#nextWrite;
  }
}
