/**
 * Who holds which address. One address never goes to two clients, and a client is known by its hardware address
 * alone: a Pi's bootloader, its kernel and its operating system send different client identifiers (option 61), or
 * none, and must all get the same address.
 */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber, type Mac, macToBytes } from "../bytes/addresses.ts";
import type { DhcpPolicy, DhcpServerSettings, Lease } from "./policy.ts";

/** How long an offer is kept for the client that got it. */
export const OFFER_MS = {
  usual: 60_000,
  /** The Pi 3B never sends a REQUEST: it boots on the bare offer, which must outlast the loading of its kernel. */
  firmware: 10 * 60_000,
};
/** How long a declined address is kept from everybody. */
const DECLINED_MS = 10 * 60_000;

export type LeasePolicy = Pick<DhcpPolicy, "isReserved" | "isNode">;

export class LeaseTable {
  readonly #byAddress = new Map<Ipv4, Lease>();
  readonly #byMac = new Map<Mac, Lease>();
  readonly #settings: DhcpServerSettings;
  readonly #policy: LeasePolicy;
  readonly #network: { first: number; last: number };

  constructor(settings: DhcpServerSettings, policy: LeasePolicy, saved: readonly Lease[]) {
    this.#settings = settings;
    this.#policy = policy;
    const mask = ipv4ToNumber(settings.subnetMask);
    const first = (ipv4ToNumber(settings.serverAddress) & mask) >>> 0;
    this.#network = { first, last: (first | ~mask) >>> 0 };
    // Oldest first: where a client has two, the later one is what it holds.
    for (const lease of saved.toSorted((a, b) => a.expiresUnixMs - b.expiresUnixMs)) this.#put(lease);
  }

  /** The lease of this client that is offered or bound now. */
  current(mac: Mac, unixMs: number): Lease | undefined {
    const lease = this.#byMac.get(mac);
    return lease && this.#isHeld(lease, unixMs) ? lease : undefined;
  }

  isOnNetwork(address: Ipv4): boolean {
    const value = ipv4ToNumber(address);
    return value > this.#network.first && value < this.#network.last;
  }

  /** Whether the client may be bound to this very address. */
  mayHold(mac: Mac, address: Ipv4, reserved: Ipv4 | undefined, unixMs: number): boolean {
    if (!this.#isFreeFor(mac, address, unixMs)) return false;
    if (reserved && this.#isFreeFor(mac, reserved, unixMs)) return address === reserved;
    return this.#isInRange(address);
  }

  /**
   * The address to offer: the reserved one; what the client has or had; what it asks for; one never used; the one
   * unused for longest. `undefined` when all are held.
   */
  choose(mac: Mac, reserved: Ipv4 | undefined, requested: Ipv4 | undefined, unixMs: number): Ipv4 | undefined {
    const wishes = [reserved, this.#byMac.get(mac)?.address, requested];
    const wish = wishes.find((address) => address && this.mayHold(mac, address, reserved, unixMs));
    return wish ?? this.#unused(mac, unixMs);
  }

  offer(mac: Mac, address: Ipv4, unixMs: number, keptMs: number = OFFER_MS.usual): void {
    // An offer for an address that the client holds already must not shorten its lease.
    const held = this.current(mac, unixMs);
    if (held?.address === address && held.state === "bound") return;
    this.#put({ mac, address, expiresUnixMs: unixMs + keptMs, state: "offered" });
  }

  bind(mac: Mac, address: Ipv4, unixMs: number, hostName: string | undefined): Lease {
    const expiresUnixMs = unixMs + this.#settings.leaseTimeS * 1000;
    return this.#put({ mac, address, expiresUnixMs, state: "bound", ...(hostName !== undefined && { hostName }) });
  }

  /** Drops an offer that the client did not take. */
  forgetOffer(mac: Mac): void {
    const lease = this.#byMac.get(mac);
    if (lease?.state === "offered") this.#put({ ...lease, expiresUnixMs: 0, state: "released" });
  }

  /** `undefined` when the client does not hold the address. */
  release(mac: Mac, address: Ipv4, unixMs: number): Lease | undefined {
    if (this.#holder(address, unixMs)?.mac !== mac) return undefined;
    return this.#put({ mac, address, expiresUnixMs: unixMs, state: "released" });
  }

  /** Keeps everybody off the address for a while. `undefined` when the client does not hold it. */
  decline(mac: Mac, address: Ipv4, unixMs: number): Lease | undefined {
    if (this.#holder(address, unixMs)?.mac !== mac) return undefined;
    return this.#put({ mac, address, expiresUnixMs: unixMs + DECLINED_MS, state: "declined" });
  }

  #put(lease: Lease): Lease {
    // A client holds one address: what it had before is free again for others, though remembered.
    const earlier = this.#byMac.get(lease.mac);
    if (earlier && earlier.address !== lease.address && earlier.state !== "declined") {
      this.#byAddress.set(earlier.address, { ...earlier, expiresUnixMs: 0, state: "released" });
    }
    const replaced = this.#byAddress.get(lease.address);
    if (replaced && replaced.mac !== lease.mac && this.#byMac.get(replaced.mac) === replaced) {
      this.#byMac.delete(replaced.mac);
    }
    this.#byAddress.set(lease.address, lease);
    this.#byMac.set(lease.mac, lease);
    return lease;
  }

  #holder(address: Ipv4, unixMs: number): Lease | undefined {
    const lease = this.#byAddress.get(address);
    return lease && this.#isHeld(lease, unixMs) ? lease : undefined;
  }

  /** A node's lease has no end: its kernel may be using the address still, and will not say so. */
  #isHeld(lease: Lease, unixMs: number): boolean {
    if (lease.state === "bound" && this.#policy.isNode(lease.mac)) return true;
    return (lease.state === "offered" || lease.state === "bound") && lease.expiresUnixMs > unixMs;
  }

  #isFreeFor(mac: Mac, address: Ipv4, unixMs: number): boolean {
    if (!this.isOnNetwork(address) || address === this.#settings.serverAddress) return false;
    const lease = this.#byAddress.get(address);
    if (!lease) return true;
    if (lease.state === "declined") return lease.expiresUnixMs <= unixMs;
    return lease.mac === mac || !this.#isHeld(lease, unixMs);
  }

  #isInRange(address: Ipv4): boolean {
    const { range, routers } = this.#settings;
    if (!range || this.#policy.isReserved(address) || routers.includes(address)) return false;
    const value = ipv4ToNumber(address);
    return value >= ipv4ToNumber(range.first) && value <= ipv4ToNumber(range.last);
  }

  #unused(mac: Mac, unixMs: number): Ipv4 | undefined {
    const { range } = this.#settings;
    if (!range) return undefined;
    const first = ipv4ToNumber(range.first);
    const count = ipv4ToNumber(range.last) - first + 1;
    // Starting at a place that follows from the MAC gives a client the same address even when all leases are lost.
    const start = macToBytes(mac).reduce((sum, byte) => (sum * 31 + byte) % count, 0);
    let oldest: Lease | undefined;
    for (let i = 0; i < count; i++) {
      const address = ipv4FromNumber(first + ((start + i) % count));
      if (!this.#isInRange(address) || !this.#isFreeFor(mac, address, unixMs)) continue;
      const former = this.#byAddress.get(address);
      if (!former) return address;
      if (!oldest || former.expiresUnixMs < oldest.expiresUnixMs) oldest = former;
    }
    return oldest?.address;
  }
}
