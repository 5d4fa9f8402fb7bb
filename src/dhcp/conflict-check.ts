/**
 * Asks the network who has an address before it is offered: RFC 2131 section 2.2 ("servers SHOULD probe"), by ARP as
 * RFC 5227 does, so that hosts with a firewall answer too. Results are remembered for a while.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { DHCP_CHECKED_ADDRESSES_MAX } from "../limits.ts";
import type { AddressProbe, Awaitable, Clock } from "../ports.ts";

/** A client that is asked for its REQUEST, or repeats its DISCOVER, does so within this time. */
const RESULT_MS = 30_000;

interface Result {
  holder: Mac | undefined;
  untilUnixMs: number;
}

export class ConflictCheck {
  readonly #probe: AddressProbe;
  readonly #clock: Pick<Clock, "unixMs">;
  readonly #results = new Map<Ipv4, Result>();
  readonly #underWay = new Map<Ipv4, Promise<Mac | undefined>>();

  constructor(probe: AddressProbe, clock: Pick<Clock, "unixMs">) {
    this.#probe = probe;
    this.#clock = clock;
  }

  /** Who has the address; at once when it was asked lately. */
  holderOf(address: Ipv4): Awaitable<Mac | undefined> {
    const known = this.#results.get(address);
    if (known && known.untilUnixMs > this.#clock.unixMs()) return known.holder;
    const asked = this.#underWay.get(address);
    if (asked) return asked;
    // A flood of made-up clients must not become a flood of ARP: what is not asked counts as free, as without a probe.
    if (this.#underWay.size >= DHCP_CHECKED_ADDRESSES_MAX) return undefined;
    const asking = this.#ask(address);
    this.#underWay.set(address, asking);
    return asking;
  }

  async #ask(address: Ipv4): Promise<Mac | undefined> {
    try {
      const holder = await this.#probe.holderOf(address);
      this.#remember(address, holder);
      return holder;
    } finally {
      this.#underWay.delete(address);
    }
  }

  #remember(address: Ipv4, holder: Mac | undefined): void {
    // Oldest first: a Map keeps the order of insertion.
    this.#results.delete(address);
    for (const oldest of this.#results.keys()) {
      if (this.#results.size < DHCP_CHECKED_ADDRESSES_MAX) break;
      this.#results.delete(oldest);
    }
    this.#results.set(address, { holder, untilUnixMs: this.#clock.unixMs() + RESULT_MS });
  }
}
