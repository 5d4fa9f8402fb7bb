/**
 * One file on its way to one client: the sender of RFC 1350 section 2 with the options of options.ts.
 * A state machine without sockets or timers: packets, turns and ticks go in, packets go out, `deadlineMs` says when it wants to
 * be called next. Block numbers are counted without end here and wrap to 0 on the wire.
 */
import type { Clock } from "../ports.ts";
import type { TransferFailure, TransferProgress } from "./observation.ts";
import type { Agreement } from "./options.ts";
import { ERROR_CODE, encodePacket, OPCODE } from "./packet.ts";
import { ReadAhead, type ReadAheadMemory, type TransferSource } from "./read-ahead.ts";
import { Retransmission } from "./retransmission.ts";

export type TransferOutcome =
  | { kind: "complete" }
  /** The client only wanted to know that the file is there, and how large. */
  | { kind: "probed" }
  | { kind: "failed"; reason: string; cause?: TransferFailure };

export interface TransferEnds {
  clock: Pick<Clock, "monotonicMs">;
  memory: ReadAheadMemory;
  /** An option acknowledgement or an error, at once. */
  send(bytes: Uint8Array): void;
  /** `head` is only valid during the call, `body` until `flush`. */
  sendBlock(head: Uint8Array, body: Uint8Array): void;
  flush(): void;
  /** There are blocks to send: asks for calls of `sendNext`, now or when it is its turn. */
  askForTurn(): void;
  onEnd(outcome: TransferOutcome): void;
}

/** A second OACK without need made a Pi come up with 128 MB. */
const OFFER = {
  /** A client that asks for a block size is an EEPROM, or newer: it repeats its request if the answer was lost. */
  intervalMs: 1000,
  /**
   * bootcode.bin and start.elf ask for the size only, or for nothing. They do not repeat requests, and take the file for missing
   * after about one second.
   */
  earlyIntervalMs: 250,
  earlyRepeats: 2,
};
/** How long a client may be silent. Firmware sometimes sends the end of a probe to a wrong port. */
const SILENCE = { offerMs: 5_000, dataMs: 15_000, timeouts: 5, quietMs: 1_000 };

const dataHead = Uint8Array.of(0, OPCODE.data, 0, 0);

export class Transfer {
  readonly startedAtMs: number;
  readonly #agreement: Agreement;
  readonly #ends: TransferEnds;
  readonly #file: ReadAhead;
  readonly #retransmission: Retransmission;
  readonly #lastBlock: number;
  readonly sizeBytes: number;

  #phase: "offering" | "sending" | "ended" = "sending";
  #acknowledged = 0;
  /** The highest that was sent. */
  #sent = 0;
  /** The one to send next: after `#sent`, or before, when some are sent again. */
  #next = 1;
  #reading = false;
  /** The highest that had been sent when some were sent again. */
  #recover = -1;
  #offers = 0;
  /** A block, sent once, whose way there and back is being measured; 0: none. */
  #timedBlock = 0;
  #timedAtMs = 0;
  #retransmitAtMs = Number.POSITIVE_INFINITY;
  #heardAtMs: number;
  /** Packets sent again. */
  retransmits = 0;

  constructor(source: TransferSource, agreement: Agreement, ends: TransferEnds) {
    const { blockBytes, windowBlocks, timeoutMs, acknowledged } = agreement;
    this.sizeBytes = source.sizeBytes;
    this.#agreement = agreement;
    this.#ends = ends;
    this.#file = new ReadAhead(source, ends.memory, blockBytes * windowBlocks);
    // A file that ends with a full block is followed by an empty one.
    this.#lastBlock = Math.floor(source.sizeBytes / blockBytes) + 1;
    this.#phase = acknowledged.size === 0 ? "sending" : "offering";
    const offerMs = this.#isEarly ? OFFER.earlyIntervalMs : OFFER.intervalMs;
    this.#retransmission = new Retransmission({
      agreedMs: timeoutMs,
      hasWindow: windowBlocks > 1,
      ...(this.#phase === "offering" && { firstMs: offerMs }),
    });
    this.startedAtMs = ends.clock.monotonicMs();
    this.#heardAtMs = this.startedAtMs;
  }

  get #isEarly(): boolean {
    return !this.#agreement.acknowledged.has("blksize");
  }

  get deadlineMs(): number {
    return Math.min(this.#retransmitAtMs, this.#heardAtMs + this.#silenceMs());
  }

  /** Bytes that the client has acknowledged. */
  get sentBytes(): number {
    return Math.min(this.#acknowledged * this.#agreement.blockBytes, this.sizeBytes);
  }

  /** How far it is, or was when it ended. */
  get progress(): TransferProgress {
    const { sentBytes, sizeBytes, retransmits } = this;
    return { sentBytes, sizeBytes, blockBytes: this.#agreement.blockBytes, retransmits };
  }

  start(): void {
    if (this.#phase === "offering") this.#offer(this.startedAtMs);
    else this.#ends.askForTurn();
  }

  /**
   * The request came again. True: its answer was lost or is on its way, and has been sent again where it helps.
   * False: it is a new request, from a client that has all of the file, or was switched off and on in between (boot
   * ROMs use the same ports each time).
   */
  onRepeatedRequest(): boolean {
    const nowMs = this.#ends.clock.monotonicMs();
    if (this.#phase === "offering") this.#offer(nowMs);
    else if (this.#acknowledged === 0) this.#sendAgain();
    else if (this.#sent === this.#lastBlock || nowMs - this.#heardAtMs >= SILENCE.quietMs) return false;
    return true;
  }

  onAcknowledge(wireBlock: number, nowMs: number): void {
    if (this.#phase === "ended") return;
    if (this.#phase === "offering") {
      if (wireBlock !== 0) return;
      this.#phase = "sending";
      this.#progress(nowMs, this.#offers === 1 ? nowMs - this.#heardAtMs : undefined);
      return;
    }
    const block = this.#acknowledged + ((wireBlock - this.#acknowledged) & 0xffff);
    if (block > this.#sent) return; // older than the window, or made up
    if (block === this.#acknowledged) {
      this.#onRepeatedAcknowledge();
      return;
    }
    this.#acknowledged = block;
    this.#next = Math.max(this.#next, block + 1);
    if (block === this.#lastBlock) {
      this.#end({ kind: "complete" });
      return;
    }
    const isTimed = this.#timedBlock !== 0 && block >= this.#timedBlock;
    const roundTripMs = isTimed ? nowMs - this.#timedAtMs : undefined;
    if (isTimed) this.#timedBlock = 0;
    // RFC 7440 section 4: an acknowledgement from inside the window says that the next block is missing.
    if (block < this.#sent) this.#goBack();
    this.#progress(nowMs, roundTripMs);
  }

  onError(code: number, message: string): void {
    if (this.#phase === "ended") return;
    const isProbe = code === ERROR_CODE.notDefined && this.#acknowledged === 0;
    if (isProbe) this.#end({ kind: "probed" });
    else this.#fail(`the client stopped it: ${clean(message)} (error ${code})`, "stopped");
  }

  onTimer(): void {
    if (this.#phase === "ended") return;
    const nowMs = this.#ends.clock.monotonicMs();
    const silentMs = nowMs - this.#heardAtMs;
    if (silentMs >= this.#silenceMs()) {
      const what = this.#phase === "offering" ? "the option acknowledgement" : `block ${this.#acknowledged + 1}`;
      this.#fail(`no answer to ${what} for ${Math.round(silentMs / 1000)} s`, "silence");
    } else if (nowMs >= this.#retransmitAtMs) {
      if (this.#phase === "offering") this.#offerAgain(nowMs);
      else {
        this.#retransmission.timedOut(silentMs);
        this.#sendAgain();
      }
    }
  }

  /** The client's port asks for something new, so this is over, and was received if it was sent. */
  onSuperseded(): void {
    if (this.#phase === "ended") return;
    if (this.#acknowledged > 0 && this.#sent === this.#lastBlock) this.#end({ kind: "complete" });
    else if (this.#acknowledged === 0) this.#end({ kind: "probed" });
    else this.#fail("the client began another request from the same port", "superseded");
  }

  /** Ends it for a reason of ours, and tells the client. */
  abort(reason: string, cause?: TransferFailure): void {
    if (this.#phase === "ended") return;
    this.#ends.send(encodePacket({ kind: "error", code: ERROR_CODE.notDefined, message: reason }));
    this.#fail(reason, cause);
  }

  /** Its turn: sends one block. False when there is none to send before something happens. */
  sendNext(nowMs: number): boolean {
    const block = this.#next;
    if (this.#reading || this.#phase !== "sending" || block > this.#lastToSend()) return false;
    const { blockBytes } = this.#agreement;
    const offset = (block - 1) * blockBytes;
    const body = this.#file.view(offset, Math.min(blockBytes, this.sizeBytes - offset));
    if (body === undefined) {
      this.#read();
      return !this.#reading && this.sendNext(nowMs);
    }
    dataHead[2] = (block >>> 8) & 0xff;
    dataHead[3] = block & 0xff;
    this.#ends.sendBlock(dataHead, body);
    this.#next = block + 1;
    if (block <= this.#sent) {
      this.retransmits++;
      this.#timedBlock = 0;
    } else {
      this.#sent = block;
      if (this.#timedBlock === 0) {
        this.#timedBlock = block;
        this.#timedAtMs = nowMs;
      }
    }
    this.#waitForAnswer(nowMs);
    return this.#next <= this.#lastToSend();
  }

  #lastToSend(): number {
    return Math.min(this.#acknowledged + this.#agreement.windowBlocks, this.#lastBlock);
  }

  /** The client is there and has what it should have: the next window. */
  #progress(nowMs: number, roundTripMs: number | undefined): void {
    this.#heardAtMs = nowMs;
    this.#retransmission.answered(roundTripMs);
    // Nothing is waited for before it has been sent.
    this.#retransmitAtMs = Number.POSITIVE_INFINITY;
    this.#ends.askForTurn();
  }

  /**
   * With one block in flight a repeated acknowledgement is an echo of our own retransmission: answering it would
   * double every packet from here on (RFC 1123 section 4.2.3.1). In a window it means that the first block is lost, if
   * what it acknowledges was sent after the last retransmission: else it is such an echo too (RFC 6582 section 3.2).
   */
  #onRepeatedAcknowledge(): void {
    if (this.#agreement.windowBlocks > 1 && this.#acknowledged > this.#recover) this.#sendAgain();
  }

  #offer(nowMs: number): void {
    if (this.#offers++ > 0) this.retransmits++;
    this.#ends.send(encodePacket({ kind: "optionAcknowledge", options: this.#agreement.acknowledged }));
    this.#waitForAnswer(nowMs);
  }

  #offerAgain(nowMs: number): void {
    if (this.#isEarly && this.#agreement.timeoutMs === undefined && this.#offers > OFFER.earlyRepeats) {
      // Nobody waits for it any more.
      this.#retransmitAtMs = Number.POSITIVE_INFINITY;
      return;
    }
    this.#retransmission.timedOut(Number.POSITIVE_INFINITY);
    this.#offer(nowMs);
  }

  /** What is not acknowledged. */
  #sendAgain(): void {
    this.#goBack();
    this.#retransmitAtMs = Number.POSITIVE_INFINITY;
    this.#ends.askForTurn();
  }

  #goBack(): void {
    this.#recover = this.#sent;
    this.#next = this.#acknowledged + 1;
    this.#timedBlock = 0;
  }

  /** From the first block that may have to be sent again. */
  #read(): void {
    // What lies in that memory is on its way no more.
    this.#ends.flush();
    const read = this.#file.fill(this.#acknowledged * this.#agreement.blockBytes);
    if (!(read instanceof Promise)) {
      if (read !== undefined) this.abort(read, "unreadable");
      return;
    }
    this.#reading = true;
    void read.then((failure) => {
      this.#reading = false;
      if (this.#phase === "ended") this.#file.close();
      else if (failure !== undefined) this.abort(failure, "unreadable");
      else this.#ends.askForTurn();
    });
  }

  #waitForAnswer(nowMs: number): void {
    this.#retransmitAtMs = nowMs + this.#retransmission.intervalMs;
  }

  #silenceMs(): number {
    const least = this.#phase === "offering" ? SILENCE.offerMs : SILENCE.dataMs;
    return Math.max(least, (this.#agreement.timeoutMs ?? 0) * SILENCE.timeouts);
  }

  #fail(reason: string, cause: TransferFailure | undefined): void {
    this.#end({ kind: "failed", reason, ...(cause && { cause }) });
  }

  #end(outcome: TransferOutcome): void {
    this.#phase = "ended";
    if (!this.#reading) this.#file.close();
    this.#ends.onEnd(outcome);
  }
}

/** A client's words, fit for a log line. */
function clean(message: string): string {
  return JSON.stringify(message.slice(0, 100));
}
