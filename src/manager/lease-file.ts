/**
 * DHCP leases, kept so that a restart never gives one address to two clients. The file is small (one line for each
 * address), so it is replaced whole; saves that arrive while one is being written share the next.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseIpv4, parseMac } from "../bytes/addresses.ts";
import type { Lease, LeaseStore } from "../dhcp/policy.ts";
import { replaceFileDurably } from "../system/atomic-file.ts";

const FILE_MODE = 0o600;

const leases = z.array(
  z.object({
    mac: z.string().transform(parseMac),
    address: z.string().transform(parseIpv4),
    expiresUnixMs: z.number(),
    state: z.enum(["offered", "bound", "released", "declined"]),
    hostName: z.string().exactOptional(),
    node: z.string().exactOptional(),
  }),
);

export class LeaseFile implements LeaseStore {
  readonly #path: string;
  readonly #leases = new Map<string, Lease>();
  #lastWrite: Promise<void> = Promise.resolve();
  #nextWrite: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Rejects when the file is damaged: without it, addresses that clients use would be given to others. */
  async load(): Promise<Lease[]> {
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "[]";
      throw error;
    });
    for (const lease of this.#parse(text)) this.#leases.set(lease.address, lease);
    return [...this.#leases.values()];
  }

  save(lease: Lease): Promise<void> {
    this.#leases.set(lease.address, lease);
    this.#nextWrite ??= this.#writeAfter(this.#lastWrite);
    this.#lastWrite = this.#nextWrite;
    return this.#nextWrite;
  }

  async #writeAfter(earlier: Promise<void>): Promise<void> {
    // Whoever waited for it has heard of its failure.
    await earlier.catch(() => {});
    this.#nextWrite = undefined;
    const text = `${JSON.stringify([...this.#leases.values()], null, 1)}\n`;
    await replaceFileDurably(this.#path, text, { mode: FILE_MODE });
  }

  #parse(text: string): Lease[] {
    try {
      return leases.parse(JSON.parse(text));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
      throw new Error(
        `Cannot read the DHCP leases in ${this.#path}: ${why}. Put it back from a backup; or remove it and restart the computers that have addresses of it`,
        { cause: error },
      );
    }
  }
}
