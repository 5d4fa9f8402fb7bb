/** Pieces of files in memory, from which blocks are sent: one read for many blocks, and no copy of each. */
import { TFTP_READ_AHEAD_BYTES, TFTP_READ_AHEAD_BYTES_MAX } from "../limits.ts";
import type { Awaitable } from "../ports.ts";

export interface TransferSource {
  sizeBytes: number;
  /** Fills `target` from `offset`, and returns how many bytes there were. */
  read(target: Uint8Array, offset: number): Awaitable<number>;
  close(): void;
}

/** Kept for the transfers that come next, not given back to the system. */
const SPARE_MAX = 32;

/** The memory that all transfers of a service read into. */
export class ReadAheadMemory {
  readonly #spare: Uint8Array[] = [];
  #usedBytes = 0;

  /** At least `leastBytes`; as much as is good for speed while there are not too many transfers. */
  take(leastBytes: number): Uint8Array {
    const wantedBytes = Math.max(leastBytes, TFTP_READ_AHEAD_BYTES);
    const isStandard = wantedBytes === TFTP_READ_AHEAD_BYTES;
    const sizeBytes = this.#usedBytes + wantedBytes > TFTP_READ_AHEAD_BYTES_MAX ? leastBytes : wantedBytes;
    this.#usedBytes += sizeBytes;
    const spare = isStandard && sizeBytes === wantedBytes ? this.#spare.pop() : undefined;
    // Memory of its own, not a part of what Node shares out: its address is looked up once.
    return spare ?? Buffer.allocUnsafeSlow(sizeBytes);
  }

  give(memory: Uint8Array): void {
    this.#usedBytes -= memory.length;
    if (this.#usedBytes === 0) this.#spare.length = 0;
    else if (memory.length === TFTP_READ_AHEAD_BYTES && this.#spare.length < SPARE_MAX) this.#spare.push(memory);
  }
}

/** The piece of one file that its transfer is at. */
export class ReadAhead {
  readonly #source: TransferSource;
  readonly #memory: ReadAheadMemory;
  readonly #leastBytes: number;
  #bytes: Uint8Array | undefined;
  #offset = 0;
  #lengthBytes = 0;

  /** At least `leastBytes` are read at a time. */
  constructor(source: TransferSource, memory: ReadAheadMemory, leastBytes: number) {
    this.#source = source;
    this.#memory = memory;
    this.#leastBytes = leastBytes;
  }

  /** Bytes of the file, without copying; `undefined` when they are not in memory: `fill` brings them. */
  view(offset: number, lengthBytes: number): Uint8Array | undefined {
    if (lengthBytes === 0) return NOTHING;
    const at = offset - this.#offset;
    if (this.#bytes === undefined || at < 0 || at + lengthBytes > this.#lengthBytes) return undefined;
    return this.#bytes.subarray(at, at + lengthBytes);
  }

  /** Reads on from `offset`, over what was there: nothing of that may be on its way any more. What it gives is a failure. */
  fill(offset: number): Awaitable<string | undefined> {
    this.#bytes ??= this.#memory.take(this.#leastBytes);
    this.#lengthBytes = 0;
    const target = this.#bytes.subarray(0, Math.min(this.#bytes.length, this.#source.sizeBytes - offset));
    const onRead = (countBytes: number) => {
      if (countBytes !== target.length)
        return `Cannot read the file: it ends before its ${this.#source.sizeBytes} bytes`;
      this.#offset = offset;
      this.#lengthBytes = countBytes;
      return undefined;
    };
    try {
      const read = this.#source.read(target, offset);
      return read instanceof Promise ? read.then(onRead).catch(failureOf) : onRead(read);
    } catch (error) {
      return failureOf(error);
    }
  }

  /** Not while it is being filled. */
  close(): void {
    this.#source.close();
    if (this.#bytes) this.#memory.give(this.#bytes);
    this.#bytes = undefined;
  }
}

const NOTHING = new Uint8Array(0);

/** The reason nearest to the disk: it names the image. */
function failureOf(error: unknown): string {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return `Cannot read the file: ${reason instanceof Error ? reason.message : String(reason)}`;
}
