/**
 * Hears what boot loaders and kernels print, sent by netconsole, and tells it line by line of the node it is from. See
 * cluster/console-text.ts for the format. Nothing is ever answered.
 */
import type { Report } from "../boot/report.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import { ConsoleLines } from "../cluster/console-text.ts";
import { CONSOLE_BURST_LINES, CONSOLE_LINES_PER_S, CONSOLE_SENDERS_MAX } from "../limits.ts";
import type { Clock, ReceivedDatagram, Timer, UdpBinding, UdpSockets } from "../ports.ts";

export interface NetconsoleOptions {
  sockets: UdpSockets;
  bindings: readonly UdpBinding[];
  clock: Pick<Clock, "after" | "monotonicMs">;
  /** The node that an address is of. */
  ownerOf(address: Ipv4): string | undefined;
  /** Asks the kernel who has which address, as far as it knows. */
  learnNeighbours(): Promise<void>;
  report: Report;
}

export interface Netconsole {
  close(): void;
}

/** A line whose end does not come is shown after this. */
const LINE_WAIT_MS = 500;
/** How often the kernel is asked again who an unknown sender is. */
const LEARN_AGAIN_MS = 10_000;
/** Datagrams of a sender that wait until the kernel was asked. */
const WAITING_MAX = 64;

/** Rejects with the operating system's error when a port cannot be had; nothing stays open then. */
export async function startNetconsole(options: NetconsoleOptions): Promise<Netconsole> {
  const listener = new NetconsoleListener(options);
  const open: { close(): void }[] = [];
  try {
    for (const binding of options.bindings) {
      const socket = await options.sockets.bind(binding);
      open.push(socket);
      socket.onDatagram((datagram) => listener.onDatagram(datagram));
    }
  } catch (error) {
    for (const socket of open) socket.close();
    throw error;
  }
  return {
    close() {
      for (const socket of open) socket.close();
      listener.endLines();
    },
  };
}

interface Sender {
  address: Ipv4;
  lines: ConsoleLines;
  lineTimer?: Timer;
  /** What came while the kernel is asked whose address it is. */
  waiting?: Uint8Array[];
  askAgainAtMs: number;
}

class NetconsoleListener {
  readonly #options: NetconsoleOptions;
  /** The one that spoke least recently first. */
  readonly #senders = new Map<Ipv4, Sender>();
  /** By node; strangers share one. */
  readonly #allowances = new Map<string | undefined, LineAllowance>();

  constructor(options: NetconsoleOptions) {
    this.#options = options;
  }

  onDatagram({ bytes, from }: ReceivedDatagram): void {
    const sender = this.#senderAt(from.address);
    if (sender.waiting) {
      if (sender.waiting.length < WAITING_MAX) sender.waiting.push(Uint8Array.from(bytes));
      return;
    }
    const { ownerOf, clock } = this.#options;
    if (ownerOf(sender.address) !== undefined || clock.monotonicMs() < sender.askAgainAtMs) this.#take(sender, bytes);
    else void this.#ask(sender, bytes);
  }

  /** What has come of lines that have no end yet. */
  endLines(): void {
    for (const sender of this.#senders.values()) this.#endLine(sender);
  }

  #senderAt(address: Ipv4): Sender {
    const sender = this.#senders.get(address) ?? { address, lines: new ConsoleLines(), askAgainAtMs: 0 };
    this.#senders.delete(address);
    this.#senders.set(address, sender);
    if (this.#senders.size > CONSOLE_SENDERS_MAX) {
      const [first] = this.#senders.values();
      this.#endLine(first!);
      this.#senders.delete(first!.address);
    }
    return sender;
  }

  async #ask(sender: Sender, bytes: Uint8Array): Promise<void> {
    const waiting = [Uint8Array.from(bytes)];
    sender.waiting = waiting;
    sender.askAgainAtMs = this.#options.clock.monotonicMs() + LEARN_AGAIN_MS;
    await this.#options.learnNeighbours().catch(() => {});
    delete sender.waiting;
    for (const each of waiting) this.#take(sender, each);
  }

  #take(sender: Sender, bytes: Uint8Array): void {
    this.#tell(sender, sender.lines.take(bytes));
    sender.lineTimer?.cancel();
    if (sender.lines.isWithinLine) {
      sender.lineTimer = this.#options.clock.after(LINE_WAIT_MS, () => this.#endLine(sender));
    }
  }

  #endLine(sender: Sender): void {
    sender.lineTimer?.cancel();
    this.#tell(sender, sender.lines.end());
  }

  #tell({ address }: Sender, lines: readonly string[]): void {
    const { ownerOf, report, clock } = this.#options;
    const node = ownerOf(address);
    for (const text of lines) {
      const { isAllowed, dropped } = this.#allowanceOf(node).take(clock.monotonicMs());
      if (isAllowed) report({ kind: "console-line", client: address, text, ...(dropped > 0 && { dropped }) }, node);
    }
  }

  #allowanceOf(node: string | undefined): LineAllowance {
    const allowance = this.#allowances.get(node) ?? new LineAllowance();
    this.#allowances.set(node, allowance);
    return allowance;
  }
}

/** So many at once, then so many a second. */
class LineAllowance {
  #left = CONSOLE_BURST_LINES;
  #atMs: number | undefined;
  #dropped = 0;

  /** `dropped`: how many were not allowed since the last that was. */
  take(nowMs: number): { isAllowed: boolean; dropped: number } {
    const earned = ((nowMs - (this.#atMs ?? nowMs)) / 1000) * CONSOLE_LINES_PER_S;
    this.#left = Math.min(CONSOLE_BURST_LINES, this.#left + earned);
    this.#atMs = nowMs;
    if (this.#left < 1) {
      this.#dropped++;
      return { isAllowed: false, dropped: 0 };
    }
    this.#left--;
    const dropped = this.#dropped;
    this.#dropped = 0;
    return { isAllowed: true, dropped };
  }
}
