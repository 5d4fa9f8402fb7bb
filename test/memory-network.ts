/** UDP sockets and a clock made of memory, for tests of servers: what is sent is kept, time moves when told to. */
import type { Ipv4 } from "../src/bytes/addresses.ts";
import type {
  Clock,
  EthernetFrame,
  ReceivedDatagram,
  SendOptions,
  UdpBinding,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../src/ports.ts";

export interface SentDatagram {
  bytes: Uint8Array;
  to: UdpPeer;
  options: SendOptions;
  fromPort: number;
}

export class MemorySockets implements UdpSockets {
  readonly #sockets = new Map<number, (datagram: ReceivedDatagram) => void>();
  readonly #sent: SentDatagram[] = [];
  readonly bindings: UdpBinding[] = [];
  /** Frames that are no datagrams. */
  readonly frames: EthernetFrame[] = [];
  canSendFrames = true;
  #nextPort = 40000;

  async bind(binding: UdpBinding): Promise<UdpSocket> {
    this.bindings.push(binding);
    const localPort = binding.port || this.#nextPort++;
    return {
      localPort,
      send: (bytes, to, options = {}) => {
        this.#sent.push({ bytes: Uint8Array.from(bytes), to, options, fromPort: localPort });
      },
      sendFrame: (frame) => {
        if (this.canSendFrames) this.frames.push(frame);
        return this.canSendFrames;
      },
      onDatagram: (handler) => void this.#sockets.set(localPort, handler),
      close: () => void this.#sockets.delete(localPort),
    };
  }

  get openCount(): number {
    return this.#sockets.size;
  }

  /** Hands a datagram to the socket at `port`. */
  deliver(port: number, bytes: Uint8Array, from: UdpPeer, localAddress?: Ipv4): void {
    const handler = this.#sockets.get(port);
    if (!handler) throw new Error(`Cannot deliver to port ${port}: no socket has it`);
    handler({ bytes, from, ...(localAddress && { localAddress }) });
  }

  /** What was sent since the last look. */
  sent(): SentDatagram[] {
    return this.#sent.splice(0);
  }
}

export class MemoryClock implements Clock {
  nowMs = 1_700_000_000_000;
  #timers: { atMs: number; run: () => void }[] = [];

  unixMs = () => this.nowMs;
  monotonicMs = () => this.nowMs;
  unixNs = () => BigInt(this.nowMs) * 1_000_000n;

  after(delayMs: number, run: () => void) {
    const timer = { atMs: this.nowMs + delayMs, run };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Lets time pass, running each timer at its time. */
  pass(durationMs: number): void {
    const endMs = this.nowMs + durationMs;
    for (;;) {
      const [next] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
      if (!next || next.atMs > endMs) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = endMs;
  }

  get timerCount(): number {
    return this.#timers.length;
  }
}
