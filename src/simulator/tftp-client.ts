/**
 * One TFTP read as the boot loaders do it: RFC 1350, later ones with `tsize` and `blksize` (RFC 2347 to 2349).
 *
 * A state machine without socket and clock: it is told packets and timeouts, and answers what to send and whether it
 * is over. Left out, because the boot loader never asks for them: `windowsize`, `timeout`, netascii, writing.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { FIRMWARE_FILE_BYTES_MAX, TFTP_BLOCK_BYTES_MAX } from "../limits.ts";

const OPCODE = { readRequest: 1, data: 3, acknowledgement: 4, error: 5, optionAcknowledgement: 6 } as const;
const BLOCK_BYTES_WITHOUT_OPTIONS = 512;
const BLOCK_NUMBERS = 0x10000;

export type TftpOutcome =
  /** `negotiated` is false when the server ignored our options (the boot loader then ignores config.txt). */
  | { kind: "complete"; bytes: Uint8Array; sizeBytes: number; negotiated: boolean }
  /** Only for a probe: the file is there. */
  | { kind: "found"; sizeBytes: number }
  | { kind: "refused"; code: number; message: string };

export interface TftpStep {
  send?: Uint8Array;
  outcome?: TftpOutcome;
}

export interface TftpReadSettings {
  path: string;
  /** What is asked of the server. The boot ROM asks nothing, and gets blocks of 512 bytes. */
  options: readonly ("tsize" | "blksize")[];
  blockBytes: number;
  /** Only asks whether the file is there: the option acknowledgement is answered with "Early terminate". */
  probe: boolean;
  /** Counts the bytes without keeping them; `complete` then carries none. */
  discard?: boolean;
  /** Block numbers go on at 0 after 65,535 (boot loaders since 2025-09-23). */
  rollover: boolean;
  /**
   * A block that comes again is acknowledged again (boot loaders since 2021-02-16). Before, a lost acknowledgement hung the
   * transfer: so the loader did not repeat it by itself either.
   */
  reacknowledges: boolean;
}

type State = { kind: "asked" } | { kind: "reading"; serverPort: number; negotiated: boolean } | { kind: "over" };

export class TftpRead {
  readonly #settings: TftpReadSettings;
  #state: State = { kind: "asked" };
  #blockBytes = BLOCK_BYTES_WITHOUT_OPTIONS;
  #announcedBytes: number | undefined;
  #received: Uint8Array[] = [];
  #receivedBytes = 0;
  /** Blocks taken so far, not wrapped. */
  #blocks = 0;
  #lastSent: Uint8Array;
  /** How often the same packet was sent again. */
  retransmits = 0;

  constructor(settings: TftpReadSettings) {
    this.#settings = settings;
    this.#lastSent = encodeReadRequest(settings);
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Where packets go: the server's port for this transfer, or `undefined` while only port 69 is known. */
  get serverPort(): number | undefined {
    return this.#state.kind === "reading" ? this.#state.serverPort : undefined;
  }

  start(): TftpStep {
    return { send: this.#lastSent };
  }

  onTimeout(): TftpStep {
    if (this.#state.kind === "over") return {};
    if (this.#state.kind === "reading" && !this.#settings.reacknowledges) return {};
    this.retransmits++;
    return { send: this.#lastSent };
  }

  /** A packet that arrived at our port. What is broken, or comes from another port, is ignored. */
  onPacket(packet: Uint8Array, fromPort: number): TftpStep {
    const known = this.serverPort;
    if (this.#state.kind === "over" || (known !== undefined && known !== fromPort)) return {};
    try {
      const reader = new Reader(packet, "TFTP packet");
      const opcode = reader.u16("opcode");
      if (opcode === OPCODE.error) return this.#onError(reader);
      if (opcode === OPCODE.optionAcknowledgement) return this.#onOptions(reader, fromPort);
      if (opcode === OPCODE.data) return this.#onData(reader.u16("block"), reader.rest(), fromPort);
      return {};
    } catch (error) {
      if (error instanceof DecodeError) return {};
      throw error;
    }
  }

  #onError(reader: Reader): TftpStep {
    const code = reader.u16("error code");
    return this.#finish({ kind: "refused", code, message: zeroTerminated(reader) });
  }

  #onOptions(reader: Reader, serverPort: number): TftpStep {
    if (this.#state.kind === "reading") return this.#blocks === 0 ? this.#repeat() : {};
    while (reader.remainingBytes > 0) {
      const name = zeroTerminated(reader).toLowerCase();
      const value = Number(zeroTerminated(reader));
      if (name === "tsize") this.#announcedBytes = value;
      if (name === "blksize") {
        if (!(value >= 8 && value <= Math.min(this.#settings.blockBytes, TFTP_BLOCK_BYTES_MAX))) {
          throw reader.error("blksize", `${value} is more than was asked for`);
        }
        this.#blockBytes = value;
      }
    }
    if (this.#settings.probe) return this.#terminateEarly(this.#announcedBytes ?? 0);
    this.#state = { kind: "reading", serverPort, negotiated: true };
    if ((this.#announcedBytes ?? 0) > FIRMWARE_FILE_BYTES_MAX) return this.#tooLarge();
    return this.#send(encodeAcknowledgement(0));
  }

  #onData(block: number, bytes: Uint8Array, serverPort: number): TftpStep {
    if (this.#state.kind === "asked") {
      if (this.#settings.probe) return this.#terminateEarly(0);
      this.#state = { kind: "reading", serverPort, negotiated: false };
    }
    if (block === this.#blocks % BLOCK_NUMBERS && this.#blocks > 0) return this.#repeat();
    const expected = this.#settings.rollover ? (this.#blocks + 1) % BLOCK_NUMBERS : this.#blocks + 1;
    if (block !== expected || bytes.length > this.#blockBytes) return {};
    this.#blocks++;
    this.#receivedBytes += bytes.length;
    if (this.#receivedBytes > FIRMWARE_FILE_BYTES_MAX) return this.#tooLarge();
    if (!this.#settings.discard) this.#received.push(bytes);
    const step = this.#send(encodeAcknowledgement(block));
    return bytes.length < this.#blockBytes ? { ...step, ...this.#complete() } : step;
  }

  #repeat(): TftpStep {
    return this.#settings.reacknowledges ? { send: this.#lastSent } : {};
  }

  #complete(): TftpStep {
    const negotiated = this.#state.kind === "reading" && this.#state.negotiated;
    const bytes = Buffer.concat(this.#received);
    this.#received = [];
    return this.#finish({ kind: "complete", bytes, sizeBytes: this.#receivedBytes, negotiated });
  }

  #terminateEarly(sizeBytes: number): TftpStep {
    return { send: encodeError(0, "Early terminate"), ...this.#finish({ kind: "found", sizeBytes }) };
  }

  #tooLarge(): TftpStep {
    const message = `File is too large. Max size ${FIRMWARE_FILE_BYTES_MAX}`;
    return { send: encodeError(0, message), ...this.#finish({ kind: "refused", code: 0, message }) };
  }

  #send(packet: Uint8Array): TftpStep {
    this.#lastSent = packet;
    return { send: packet };
  }

  #finish(outcome: TftpOutcome): TftpStep {
    this.#state = { kind: "over" };
    return { outcome };
  }
}

function encodeReadRequest({ path, options, blockBytes }: TftpReadSettings): Uint8Array {
  const values = { tsize: "0", blksize: String(blockBytes) };
  const words = [path, "octet", ...options.flatMap((name) => [name, values[name]])];
  return new Writer(128)
    .u16(OPCODE.readRequest)
    .bytes(Buffer.from(words.map((word) => `${word}\0`).join(""), "latin1"))
    .finish();
}

function encodeAcknowledgement(block: number): Uint8Array {
  return new Writer(4).u16(OPCODE.acknowledgement).u16(block).finish();
}

function encodeError(code: number, message: string): Uint8Array {
  return new Writer(64)
    .u16(OPCODE.error)
    .u16(code)
    .bytes(Buffer.from(`${message}\0`, "latin1"))
    .finish();
}

/** Servers are known to forget the final zero of an error text. */
function zeroTerminated(reader: Reader): string {
  const bytes: number[] = [];
  while (reader.remainingBytes > 0) {
    const byte = reader.u8("text");
    if (byte === 0) break;
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString("latin1");
}
