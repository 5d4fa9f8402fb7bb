/**
 * Record marking, which cuts a TCP stream into RPC messages: RFC 5531 section 11. A record is one or more fragments;
 * each starts with a word whose top bit says "last" and whose other bits are its length.
 *
 * Clients in use send single fragments, so a record that lies whole in one chunk is handed out as a view of it.
 * Anything else is gathered in a buffer that grows with what has really arrived, never with what was announced.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { RPC_RECORD_BYTES_MAX, RPC_STRANGER_RECORD_BYTES_MAX } from "../limits.ts";

export const LAST_FRAGMENT = 0x8000_0000;
export const RECORD_MARK_BYTES = 4;

/** A record's memory is at most so many times what has arrived of it: a full WRITE is whole after its first 64 KiB. */
const GROWTH = 16;

/** Memory of large records, to be used again: getting it anew for each WRITE costs more than copying into it. */
const spare: Uint8Array[] = [];
const SPARE_MAX = 8;
const lent = new WeakSet<ArrayBufferLike>();

/** Not zeroed: it is written to before it is read. */
function newMemory(countBytes: number): Uint8Array {
  if (countBytes < RPC_RECORD_BYTES_MAX / 2) return Buffer.allocUnsafeSlow(countBytes);
  const memory = spare.pop() ?? Buffer.allocUnsafeSlow(RPC_RECORD_BYTES_MAX);
  lent.add(memory.buffer);
  return memory;
}

/** To be called when nobody needs a record's bytes any more. */
export function reuseRecord({ buffer }: Uint8Array): void {
  if (lent.delete(buffer) && spare.length < SPARE_MAX) spare.push(new Uint8Array(buffer));
}

const EMPTY = new Uint8Array(0);

export class RecordAssembler {
  #chunk: Uint8Array = EMPTY;
  #position = 0;
  /** What has arrived of a record that spans chunks or fragments. */
  #gathered: Uint8Array = EMPTY;
  #gatheredBytes = 0;
  /** The current fragment's header, while it is incomplete, as the bytes seen so far. */
  #mark = 0;
  #markBytes = 0;
  #isWithinRecord = false;
  #isLast = false;
  #fragmentBytesLeft = 0;
  readonly #isKnown: () => boolean;

  /** `isKnown` is asked at a record that is longer than what strangers may send. */
  constructor(isKnown: () => boolean = () => true) {
    this.#isKnown = isKnown;
  }

  /** Whether a record has begun that is not whole. */
  get isWithinRecord(): boolean {
    return this.#isWithinRecord;
  }

  /** What has to come yet of the fragment that has begun. */
  get missingBytes(): number {
    return this.#markBytes < RECORD_MARK_BYTES ? 0 : this.#fragmentBytesLeft;
  }

  /** Adds bytes from the stream; call `next` until it returns `undefined` before (or after) adding more. */
  push(chunk: Uint8Array): void {
    if (this.#position === this.#chunk.length) {
      this.#chunk = chunk;
    } else {
      const joined = new Uint8Array(this.#chunk.length - this.#position + chunk.length);
      joined.set(this.#chunk.subarray(this.#position));
      joined.set(chunk, this.#chunk.length - this.#position);
      this.#chunk = joined;
    }
    this.#position = 0;
  }

  /** The next whole record, or `undefined` until more arrives. Throws `DecodeError` when a record is too long. */
  next(): Uint8Array | undefined {
    const record = this.#assemble();
    if (record !== undefined) {
      this.#isWithinRecord = false;
      return record;
    }
    // All of it was taken. It is a piece of the socket's buffer, and an idle connection must not hold on to that.
    this.#chunk = EMPTY;
    this.#position = 0;
    return undefined;
  }

  #assemble(): Uint8Array | undefined {
    for (;;) {
      if (this.#markBytes < RECORD_MARK_BYTES && !this.#readMark()) return undefined;
      const available = this.#chunk.length - this.#position;
      if (this.#isLast && this.#gatheredBytes === 0 && this.#fragmentBytesLeft <= available) {
        return this.#take(this.#fragmentBytesLeft, true);
      }
      const taken = this.#take(Math.min(available, this.#fragmentBytesLeft), false);
      this.#gather(taken);
      this.#fragmentBytesLeft -= taken.length;
      if (this.#fragmentBytesLeft > 0) return undefined;
      this.#markBytes = 0;
      if (this.#isLast) return this.#finishGathered();
    }
  }

  #readMark(): boolean {
    while (this.#markBytes < RECORD_MARK_BYTES) {
      const byte = this.#chunk[this.#position];
      if (byte === undefined) return false;
      this.#isWithinRecord = true;
      this.#mark = ((this.#mark << 8) | byte) >>> 0;
      this.#markBytes++;
      this.#position++;
    }
    this.#isLast = this.#mark >= LAST_FRAGMENT;
    this.#fragmentBytesLeft = this.#mark % LAST_FRAGMENT;
    const recordBytes = this.#gatheredBytes + this.#fragmentBytesLeft;
    if (recordBytes <= RPC_STRANGER_RECORD_BYTES_MAX) return true;
    const maximum = this.#isKnown() ? RPC_RECORD_BYTES_MAX : RPC_STRANGER_RECORD_BYTES_MAX;
    if (recordBytes > maximum) {
      throw new DecodeError("RPC record", "fragment header", `${recordBytes} bytes, at most ${maximum}`);
    }
    return true;
  }

  #take(countBytes: number, endsRecord: boolean): Uint8Array {
    const start = this.#position;
    this.#position += countBytes;
    if (endsRecord) this.#markBytes = 0;
    return this.#chunk.subarray(start, this.#position);
  }

  #gather(bytes: Uint8Array): void {
    const needed = this.#gatheredBytes + bytes.length;
    if (needed > this.#gathered.length) {
      // Many times, also where a fragment is short: a record in fragments of one byte would else be copied for each of them.
      const whole = this.#isLast ? this.#gatheredBytes + this.#fragmentBytesLeft : RPC_RECORD_BYTES_MAX;
      const grown = newMemory(Math.max(needed, Math.min(Math.max(needed * GROWTH, 4096), whole)));
      grown.set(this.#gathered.subarray(0, this.#gatheredBytes));
      this.#gathered = grown;
    }
    this.#gathered.set(bytes, this.#gatheredBytes);
    this.#gatheredBytes = needed;
  }

  #finishGathered(): Uint8Array {
    const record = this.#gathered.subarray(0, this.#gatheredBytes);
    this.#gathered = EMPTY;
    this.#gatheredBytes = 0;
    return record;
  }
}
