/** The last packets of everybody, in bounded memory. What is kept of whom is the caller's to decide. */
import type { Mac } from "../../bytes/addresses.ts";
import { CAPTURE_BYTES_MAX, CAPTURE_BYTES_PER_OWNER_MAX, CAPTURE_OWNERS_MAX } from "../../limits.ts";
import type { UdpPeer } from "../../ports.ts";

/** A datagram, or a frame that is none, as one of our sockets saw or sent it. */
export interface SeenPacket {
  /** Microseconds since 1970 UTC. */
  unixUs: number;
  direction: "received" | "sent";
  from: UdpPeer;
  to: UdpPeer;
  /** The datagram, or its first part; for another frame what follows its type. */
  bytes: Uint8Array;
  /** Of the whole. */
  lengthBytes: number;
  /** Whom it was sent to without asking ARP. */
  hardwareAddress?: Mac;
  /** Only for a frame that is no datagram. */
  etherType?: number;
}

export interface PacketsSince {
  packets: SeenPacket[];
  /** To ask with for what comes after. */
  last: number;
}

interface Entry {
  number: number;
  packet: SeenPacket;
}

interface Ring {
  /** Oldest first. */
  entries: Entry[];
  keptBytes: number;
}

/** What an entry takes beside its bytes. */
const ENTRY_BYTES = 256;

export interface RingLimits {
  bytesPerOwner: number;
  bytes: number;
  owners: number;
}

const LIMITS: RingLimits = {
  bytesPerOwner: CAPTURE_BYTES_PER_OWNER_MAX,
  bytes: CAPTURE_BYTES_MAX,
  owners: CAPTURE_OWNERS_MAX,
};

export class PacketRings {
  readonly #limits: RingLimits;
  /** The one that was added to least recently first. */
  readonly #rings = new Map<string, Ring>();
  #keptBytes = 0;
  #last = 0;

  constructor(limits: RingLimits = LIMITS) {
    this.#limits = limits;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Keeps the bytes as they are: nobody may write to them any more. */
  add(owner: string, packet: SeenPacket): void {
    const ring = this.#rings.get(owner) ?? { entries: [], keptBytes: 0 };
    this.#rings.delete(owner);
    this.#rings.set(owner, ring);
    ring.entries.push({ number: ++this.#last, packet });
    this.#count(ring, sizeOf(packet));
    if (ring.keptBytes > this.#limits.bytesPerOwner) this.#trim(ring);
    while (this.#rings.size > this.#limits.owners || this.#keptBytes > this.#limits.bytes) this.#forgetFirst();
  }

  /** Of all these owners, in order. `after` is the `last` of the call before; 0 for all that is kept. */
  since(owners: Iterable<string>, after: number): PacketsSince {
    const found = [...new Set(owners)].flatMap((owner) => this.#rings.get(owner)?.entries ?? []);
    const entries = found.filter(({ number }) => number > after).sort((one, other) => one.number - other.number);
    return { packets: entries.map(({ packet }) => packet), last: this.#last };
  }

  forget(owner: string): void {
    const ring = this.#rings.get(owner);
    if (!ring) return;
    this.#rings.delete(owner);
    this.#keptBytes -= ring.keptBytes;
  }

  /** To three quarters, so that it is not to be done for each packet. */
  #trim(ring: Ring): void {
    let removed = 0;
    let removedBytes = 0;
    while (ring.keptBytes - removedBytes > this.#limits.bytesPerOwner * 0.75) {
      removedBytes += sizeOf(ring.entries[removed++]!.packet);
    }
    ring.entries.splice(0, removed);
    this.#count(ring, -removedBytes);
  }

  #forgetFirst(): void {
    const [owner] = this.#rings.keys();
    this.forget(owner!);
  }

  #count(ring: Ring, bytes: number): void {
    ring.keptBytes += bytes;
    this.#keptBytes += bytes;
  }
}

function sizeOf({ bytes }: SeenPacket): number {
  return bytes.length + ENTRY_BYTES;
}
