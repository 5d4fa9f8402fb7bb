/**
 * Who holds which address of one network. One address never goes to two clients, and a client is known by its hardware
 * address alone: a Pi's bootloader, its kernel and its operating system send different client identifiers (option 61),
 * or none, and must all get the same address.
 */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber, type Mac, macToBytes } from "../bytes/addresses.ts";
import type { DhcpPolicy, DhcpSubnet, Lease } from "./policy.ts";

/** How long an offer is kept for the client that got it. */
export const OFFER_MS = {
  usual: 60_000,
  /** The Pi 3B never sends a REQUEST: it boots on the bare offer, which must outlast the loading of its kernel. */
  firmware: 10 * 60_000,
};
/** How long an address that somebody else has is kept from everybody. */
const DECLINED_MS = 10 * 60_000;
/** How long nothing is looked for when nothing was free, unless a lease ends before. */
const FULL_MS = 10_000;

export type LeasePolicy = Pick<DhcpPolicy, "isReserved" | "isNode">;

/** Who wants an address. */
export interface LeaseClient {
  mac: Mac;
  /** The node that it is. */
  node?: string;
}

interface Span {
  first: number;
  last: number;
}

export class LeaseTable {
  readonly #byAddress = new Map<number, Lease>();
  readonly #byMac = new Map<Mac, Lease>();
  readonly #subnet: DhcpSubnet;
  readonly #policy: LeasePolicy;
  readonly #network: Span;
  readonly #range: Span | undefined;
  readonly #excluded: readonly Span[];
  /** Nothing of the range is free before this time. */
  #fullUntilMs = 0;

  constructor(subnet: DhcpSubnet, policy: LeasePolicy, saved: readonly Lease[]) {
    this.#subnet = subnet;
    this.#policy = policy;
    this.#network = networkOf(subnet);
    const { range, excluded = [], routers, serverAddress, reservations } = subnet;
    this.#range = range && spanOf(range);
    const taken = [...routers, serverAddress, ...(reservations?.values() ?? [])];
    this.#excluded = [...excluded, ...taken.map((address) => ({ first: address, last: address }))].map(spanOf);
    // Oldest first: where a client has two, the later one is what it holds.
    const ours = saved.filter(({ address }) => this.isOnNetwork(address));
    for (const lease of ours.sort((a, b) => a.expiresUnixMs - b.expiresUnixMs)) this.#put(lease);
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
  mayHold(client: LeaseClient, address: Ipv4, reserved: Ipv4 | undefined, unixMs: number): boolean {
    if (!this.#isFreeFor(client, address, unixMs)) return false;
    if (reserved && this.#isFreeFor(client, reserved, unixMs)) return address === reserved;
    return this.#isInPool(ipv4ToNumber(address)) && !this.#policy.isReserved(address);
  }

  /**
   * The address to offer: the reserved one; what the client has or had; what it asks for; one never used; the one
   * unused for longest. `undefined` when all are held.
   */
  choose(
    client: LeaseClient,
    reserved: Ipv4 | undefined,
    requested: Ipv4 | undefined,
    unixMs: number,
  ): Ipv4 | undefined {
    const wishes = [reserved, this.#byMac.get(client.mac)?.address, requested];
    const wish = wishes.find((address) => address && this.mayHold(client, address, reserved, unixMs));
    return wish ?? this.#unused(client, unixMs);
  }

  offer({ mac, node }: LeaseClient, address: Ipv4, unixMs: number, keptMs: number = OFFER_MS.usual): Lease {
    // An offer for an address that the client holds already must not shorten its lease.
    const held = this.current(mac, unixMs);
    if (held?.address === address && held.state === "bound") return held;
    const who = { mac, ...(node !== undefined && { node }) };
    return this.#put({ ...who, address, expiresUnixMs: unixMs + keptMs, state: "offered" });
  }

  bind({ mac, node }: LeaseClient, address: Ipv4, unixMs: number, hostName: string | undefined): Lease {
    const expiresUnixMs = unixMs + this.#subnet.leaseTimeS * 1000;
    const about = { ...(node !== undefined && { node }), ...(hostName !== undefined && { hostName }) };
    return this.#put({ mac, address, expiresUnixMs, state: "bound", ...about });
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

  /** The same for an address that was found in use before the client had it. */
  withdraw(mac: Mac, address: Ipv4, unixMs: number): void {
    const lease = this.#byAddress.get(ipv4ToNumber(address));
    // Meanwhile it may have been bound, or gone to another client.
    if (lease?.mac !== mac || lease.state !== "offered") return;
    this.#put({ mac, address, expiresUnixMs: unixMs + DECLINED_MS, state: "declined" });
  }

  #put(lease: Lease): Lease {
    if (lease.state !== "bound") this.#fullUntilMs = 0;
    // A client holds one address: what it had before is free again for others, though remembered.
    const earlier = this.#byMac.get(lease.mac);
    if (earlier && earlier.address !== lease.address && earlier.state !== "declined") {
      this.#byAddress.set(ipv4ToNumber(earlier.address), { ...earlier, expiresUnixMs: 0, state: "released" });
      this.#fullUntilMs = 0;
    }
    const at = ipv4ToNumber(lease.address);
    const replaced = this.#byAddress.get(at);
    if (replaced && replaced.mac !== lease.mac && this.#byMac.get(replaced.mac) === replaced) {
      this.#byMac.delete(replaced.mac);
    }
    this.#byAddress.set(at, lease);
    this.#byMac.set(lease.mac, lease);
    return lease;
  }

  #holder(address: Ipv4, unixMs: number): Lease | undefined {
    const lease = this.#byAddress.get(ipv4ToNumber(address));
    return lease && this.#isHeld(lease, unixMs) ? lease : undefined;
  }

  /** A node's lease has no end: its kernel may be using the address still, and will not say so. */
  #isHeld(lease: Lease, unixMs: number): boolean {
    if (lease.state === "bound" && this.#policy.isNode(lease.mac)) return true;
    return (lease.state === "offered" || lease.state === "bound") && lease.expiresUnixMs > unixMs;
  }

  #isFreeFor(client: LeaseClient, address: Ipv4, unixMs: number): boolean {
    if (!this.isOnNetwork(address) || address === this.#subnet.serverAddress) return false;
    const lease = this.#byAddress.get(ipv4ToNumber(address));
    return !lease || this.#isAvailable(lease, client, unixMs);
  }

  #isAvailable(lease: Lease, { mac, node }: LeaseClient, unixMs: number): boolean {
    if (lease.state === "declined") return lease.expiresUnixMs <= unixMs;
    // The node has another board now: the old one is nobody's.
    const isReplaced = node !== undefined && lease.node === node && !this.#policy.isNode(lease.mac);
    return lease.mac === mac || isReplaced || !this.#isHeld(lease, unixMs);
  }

  #isInPool(value: number): boolean {
    const isWithin = ({ first, last }: Span) => value >= first && value <= last;
    return this.#range !== undefined && isWithin(this.#range) && !this.#excluded.some(isWithin);
  }

  #unused(client: LeaseClient, unixMs: number): Ipv4 | undefined {
    const range = this.#range;
    if (!range || unixMs < this.#fullUntilMs) return undefined;
    const count = range.last - range.first + 1;
    // Starting at a place that follows from the MAC gives a client the same address even when all leases are lost.
    const start = macToBytes(client.mac).reduce((sum, byte) => (sum * 31 + byte) % count, 0);
    let oldest: Lease | undefined;
    let nextEndMs = unixMs + FULL_MS;
    for (let i = 0; i < count; i++) {
      const value = range.first + ((start + i) % count);
      const former = this.#byAddress.get(value);
      if (former && !this.#isAvailable(former, client, unixMs)) {
        if (former.expiresUnixMs > unixMs) nextEndMs = Math.min(nextEndMs, former.expiresUnixMs);
        continue;
      }
      if (former && oldest && former.expiresUnixMs >= oldest.expiresUnixMs) continue;
      if (!this.#isInPool(value) || !this.isOnNetwork(ipv4FromNumber(value))) continue;
      if (this.#policy.isReserved(ipv4FromNumber(value))) continue;
      if (!former) return ipv4FromNumber(value);
      oldest = former;
    }
    if (!oldest) this.#fullUntilMs = nextEndMs;
    return oldest?.address;
  }
}

/** Network address and broadcast address. */
export function networkOf({ serverAddress, network = serverAddress, subnetMask }: DhcpSubnet): Span {
  const mask = ipv4ToNumber(subnetMask);
  const first = (ipv4ToNumber(network) & mask) >>> 0;
  return { first, last: (first | ~mask) >>> 0 };
}

function spanOf({ first, last }: { first: Ipv4; last: Ipv4 }): Span {
  return { first: ipv4ToNumber(first), last: ipv4ToNumber(last) };
}
