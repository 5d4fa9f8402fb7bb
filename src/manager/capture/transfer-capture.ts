/** What a worker keeps of its TFTP transfers, by the address of the client. Asked for by `NodeCaptures`. */
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { Clock, UdpSockets } from "../../ports.ts";
import { OPCODE } from "../../tftp/packet.ts";
import { PacketRings, type PacketsSince } from "./packet-rings.ts";
import { tapSockets } from "./tapped-sockets.ts";
import { TftpSample } from "./tftp-sample.ts";

/** Of a block, its header and the beginning of the file's bytes. Everything else is kept whole. */
const DATA_BYTES_KEPT = 64;

export class TransferCapture {
  readonly #rings = new PacketRings();
  readonly #clock: Pick<Clock, "unixNs">;

  constructor(clock: Pick<Clock, "unixNs">) {
    this.#clock = clock;
  }

  tap(sockets: UdpSockets): UdpSockets {
    const sample = new TftpSample();
    return tapSockets({
      sockets,
      clock: this.#clock,
      keptBytes: (head) => (head[1] === OPCODE.data ? DATA_BYTES_KEPT : Number.POSITIVE_INFINITY),
      tap: {
        wants: (head, lengthBytes, peer) => sample.wants(head, lengthBytes, peer),
        take: (packet, { address }) => this.#rings.add(address, packet),
      },
    });
  }

  since(addresses: readonly Ipv4[], after: number): PacketsSince {
    const { last } = this.#rings.since([], 0);
    // Numbers that we have not reached are of a process before this one.
    return this.#rings.since(addresses, after > last ? 0 : after);
  }

  /** It is another client's now. */
  forget(address: Ipv4): void {
    this.#rings.forget(address);
  }
}
