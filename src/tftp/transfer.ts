/**
 * One file on its way to one client: the sender of RFC 1350 section 2 with the options of options.ts.
 * A state machine without sockets or timers: packets and ticks go in, `send` takes bytes out, `deadlineMs` says when
 * it wants to be called next. Block numbers are counted without end here and wrap to 0 on the wire.
 */
import type { Awaitable, Clock } from "../ports.ts";
import type { TransferProgress } from "./observation.ts";
import type { Agreement } from "./options.ts";
import { ERROR_CODE, encodePacket, OPCODE } from "./packet.ts";

export interface TransferSource {
  sizeBytes: number;
  /** Fills `target` from `offset`, and returns how many bytes there were. */
  read(target: Uint8Array, offset: number): Awaitable<number>;
  close(): void;
}

export type TransferOutcome =
  | { kind: "complete" }
  /** The client only wanted to know that the file is there, and how large. */
  | { kind: "probed" }
  | { kind: "failed"; reason: string };

export interface TransferEnds {
  clock: Pick<Clock, "monotonicMs">;
  /** The bytes are only valid during the call. */
  send(bytes: Uint8Array): void;
  onEnd(outcome: TransferOutcome): void;
}

/** Waiting times, in milliseconds. The interval doubles with each retransmission in a row. */
const RETRANSMIT = {
  /** bootcode.bin takes a file for missing after about one second without data. */
  dataMs: 300,
  /** A second OACK without need made a Pi come up with 128 MB; a lost one is asked for again by the client. */
  offerMs: 1000,
  longestMs: 2400,
};
/** How long a client may be silent. Firmware sometimes sends the end of a probe to a wrong port. */
const SILENCE = { offerMs: 5_000, dataMs: 15_000, timeouts: 5, quietMs: 1_000 };

export class Transfer {
  readonly #source: TransferSource;
  readonly #agreement: Agreement;
  readonly #ends: TransferEnds;
  readonly #lastBlock: number;
  /** The packets of the window; block n stands in n modulo their number. */
  readonly #packets: Uint8Array[] = [];

  #phase: "offering" | "sending" | "ended" = "sending";
  #acknowledged = 0;
  #sent = 0;
  #reading = false;
  /** Repeated acknowledgements of one block start one retransmission, else each copy would start another. */
  #repaired = false;
  #intervalMs: number;
  #retransmitAtMs = 0;
  #heardAtMs: number;
  /** Packets sent again. */
  retransmits = 0;

  constructor(source: TransferSource, agreement: Agreement, ends: TransferEnds) {
    this.#source = source;
    this.#agreement = agreement;
    this.#ends = ends;
    // A file that ends with a full block is followed by an empty one.
    this.#lastBlock = Math.floor(source.sizeBytes / agreement.blockBytes) + 1;
    this.#intervalMs = agreement.timeoutMs ?? RETRANSMIT.dataMs;
    this.#heardAtMs = ends.clock.monotonicMs();
  }

  get sizeBytes(): number {
    return this.#source.sizeBytes;
  }

  get deadlineMs(): number {
    return Math.min(this.#retransmitAtMs, this.#heardAtMs + this.#silenceMs());
  }

  /** Bytes that the client has acknowledged. */
  get sentBytes(): number {
    return Math.min(this.#acknowledged * this.#agreement.blockBytes, this.#source.sizeBytes);
  }

  /** How far it is, or was when it ended. */
  get progress(): TransferProgress {
    const { sentBytes, sizeBytes, retransmits } = this;
    return { sentBytes, sizeBytes, blockBytes: this.#agreement.blockBytes, retransmits };
  }

  start(): void {
    if (this.#agreement.acknowledged.size === 0) {
      this.#fillWindow();
      return;
    }
    this.#phase = "offering";
    this.#intervalMs = this.#agreement.timeoutMs ?? RETRANSMIT.offerMs;
    this.#offer();
  }

  /**
   * The request came again. True: its answer was lost or is on its way, and has been sent again where it helps.
   * False: it is a new request, from a client that has all of the file, or was switched off and on in between (boot
   * ROMs use the same ports each time).
   */
  onRepeatedRequest(): boolean {
    if (this.#phase === "offering") this.#offer();
    else if (this.#acknowledged === 0) this.#sendAgain();
    else if (this.#sent === this.#lastBlock || this.#isQuiet()) return false;
    return true;
  }

  onAcknowledge(wireBlock: number): void {
    if (this.#phase === "ended") return;
    if (this.#phase === "offering") {
      if (wireBlock !== 0) return;
      this.#phase = "sending";
      this.#progress();
      return;
    }
    const block = this.#acknowledged + ((wireBlock - this.#acknowledged) & 0xffff);
    if (block > this.#sent) return; // older than the window, or made up
    if (block === this.#acknowledged) {
      this.#onRepeatedAcknowledge();
      return;
    }
    this.#acknowledged = block;
    if (block === this.#lastBlock) {
      this.#end({ kind: "complete" });
      return;
    }
    // RFC 7440 section 4: an acknowledgement from inside the window says that the next block is missing.
    if (block < this.#sent) this.#sendAgain();
    this.#progress();
  }

  onError(code: number, message: string): void {
    if (this.#phase === "ended") return;
    const isProbe = code === ERROR_CODE.notDefined && this.#acknowledged === 0;
    this.#end(
      isProbe
        ? { kind: "probed" }
        : { kind: "failed", reason: `the client stopped it: ${clean(message)} (error ${code})` },
    );
  }

  onTimer(): void {
    if (this.#phase === "ended") return;
    const nowMs = this.#ends.clock.monotonicMs();
    if (nowMs >= this.#heardAtMs + this.#silenceMs()) {
      const waited = `${Math.round((nowMs - this.#heardAtMs) / 1000)} s`;
      const what = this.#phase === "offering" ? "the option acknowledgement" : `block ${this.#acknowledged + 1}`;
      this.#end({ kind: "failed", reason: `no answer to ${what} for ${waited}` });
    } else if (nowMs >= this.#retransmitAtMs) {
      if (this.#agreement.timeoutMs === undefined)
        this.#intervalMs = Math.min(this.#intervalMs * 2, RETRANSMIT.longestMs);
      this.#repaired = false;
      if (this.#phase === "offering") this.#offer();
      else this.#sendAgain();
    }
  }

  /** The client's port asks for something new, so this is over, and was received if it was sent. */
  onSuperseded(): void {
    if (this.#phase === "ended") return;
    if (this.#acknowledged > 0 && this.#sent === this.#lastBlock) this.#end({ kind: "complete" });
    else if (this.#acknowledged === 0) this.#end({ kind: "probed" });
    else this.#end({ kind: "failed", reason: "the client began another request from the same port" });
  }

  /** Ends it for a reason of ours, and tells the client. */
  abort(reason: string): void {
    if (this.#phase === "ended") return;
    this.#ends.send(encodePacket({ kind: "error", code: ERROR_CODE.notDefined, message: reason }));
    this.#end({ kind: "failed", reason });
  }

  /** The client is there and has what it should have: the next window. */
  #progress(): void {
    this.#heardAtMs = this.#ends.clock.monotonicMs();
    this.#intervalMs = this.#agreement.timeoutMs ?? RETRANSMIT.dataMs;
    this.#repaired = false;
    this.#fillWindow();
    this.#waitForAnswer();
  }

  /**
   * With one block in flight a repeated acknowledgement is an echo of our own retransmission: answering it would
   * double every packet from here on (RFC 1123 section 4.2.3.1). In a window it means that the first block is lost.
   */
  #onRepeatedAcknowledge(): void {
    if (this.#agreement.windowBlocks === 1 || this.#repaired) return;
    this.#repaired = true;
    this.#sendAgain();
  }

  #offer(): void {
    if (this.#retransmitAtMs !== 0) this.retransmits++;
    this.#ends.send(encodePacket({ kind: "optionAcknowledge", options: this.#agreement.acknowledged }));
    this.#waitForAnswer();
  }

  #sendAgain(): void {
    for (let block = this.#acknowledged + 1; block <= this.#sent; block++) {
      this.retransmits++;
      this.#ends.send(this.#packet(block));
    }
    this.#waitForAnswer();
  }

  #fillWindow(): void {
    while (!this.#reading && this.#phase === "sending") {
      const block = this.#sent + 1;
      if (block > Math.min(this.#acknowledged + this.#agreement.windowBlocks, this.#lastBlock)) return;
      const packet = this.#packet(block);
      const read = this.#read(block, packet.subarray(4));
      if (typeof read === "number") {
        this.#sendNew(block, packet, read);
      } else {
        this.#reading = true;
        read.then(
          (countBytes) => this.#onRead(block, packet, countBytes),
          (error: unknown) => this.#onRead(block, packet, error),
        );
      }
    }
  }

  #read(block: number, target: Uint8Array): Awaitable<number> {
    if (target.length === 0) return 0;
    try {
      return this.#source.read(target, (block - 1) * this.#agreement.blockBytes);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #onRead(block: number, packet: Uint8Array, result: unknown): void {
    this.#reading = false;
    if (this.#phase === "ended") {
      this.#source.close();
    } else if (typeof result !== "number") {
      this.abort(`Cannot read the file: ${result instanceof Error ? result.message : String(result)}`);
    } else {
      this.#sendNew(block, packet, result);
      this.#fillWindow();
    }
  }

  #sendNew(block: number, packet: Uint8Array, countBytes: number): void {
    if (countBytes !== packet.length - 4) {
      this.abort(`Cannot read the file: it ends before its ${this.#source.sizeBytes} bytes`);
      return;
    }
    packet[0] = 0;
    packet[1] = OPCODE.data;
    packet[2] = (block >>> 8) & 0xff;
    packet[3] = block & 0xff;
    this.#sent = block;
    this.#ends.send(packet);
    this.#waitForAnswer();
  }

  #packet(block: number): Uint8Array {
    const { blockBytes, windowBlocks } = this.#agreement;
    const slot = block % windowBlocks;
    this.#packets[slot] ??= Buffer.allocUnsafeSlow(4 + blockBytes);
    const lengthBytes = block < this.#lastBlock ? blockBytes : this.#source.sizeBytes % blockBytes;
    return lengthBytes === blockBytes ? this.#packets[slot] : this.#packets[slot].subarray(0, 4 + lengthBytes);
  }

  #waitForAnswer(): void {
    this.#retransmitAtMs = this.#ends.clock.monotonicMs() + this.#intervalMs;
  }

  #isQuiet(): boolean {
    return this.#ends.clock.monotonicMs() - this.#heardAtMs >= SILENCE.quietMs;
  }

  #silenceMs(): number {
    const least = this.#phase === "offering" ? SILENCE.offerMs : SILENCE.dataMs;
    return Math.max(least, (this.#agreement.timeoutMs ?? 0) * SILENCE.timeouts);
  }

  #end(outcome: TransferOutcome): void {
    this.#phase = "ended";
    if (!this.#reading) this.#source.close();
    this.#ends.onEnd(outcome);
  }
}

/** A client's words, fit for a log line. */
function clean(message: string): string {
  return JSON.stringify(message.slice(0, 100));
}
