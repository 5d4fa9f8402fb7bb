/**
 * A growing big-endian byte buffer (`LE` in a name means little-endian). Values out of range are a
 * programmer's mistake and throw `RangeError`.
 */
export class Writer {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacityBytes = 512) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get lengthBytes(): number {
    return this.#length;
  }

  /** Makes room and returns where it starts. To be called before `#view` is looked at: it may replace it. */
  #reserve(countBytes: number): number {
    const at = this.#length;
    const needed = at + countBytes;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    checkRange(value, 0xff);
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    checkRange(value, 0xffff);
    const at = this.#reserve(2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32(value: number): this {
    checkRange(value, 0xffffffff);
    const at = this.#reserve(4);
    this.#view.setUint32(at, value);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, value);
    return this;
  }

  u16LE(value: number): this {
    checkRange(value, 0xffff);
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32LE(value: number): this {
    checkRange(value, 0xffffffff);
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Copies `count` 32-bit words as they stand from byte `at` on: for a few of them quicker than `bytes`. */
  words(source: DataView, at: number, count: number): this {
    const start = this.#reserve(count * 4);
    const view = this.#view;
    for (let offset = 0; offset < count * 4; offset += 4) view.setUint32(start + offset, source.getUint32(at + offset));
    return this;
  }

  /** One byte per character; for names, where going through a `Buffer` would cost more than the copy. */
  latin1(value: string): this {
    const at = this.#reserve(value.length);
    for (let index = 0; index < value.length; index++) this.#bytes[at + index] = value.charCodeAt(index);
    return this;
  }

  zeros(countBytes: number): this {
    const at = this.#reserve(countBytes);
    // Padding, mostly: a call of `fill` costs more than the bytes.
    if (countBytes <= 8) for (let index = at; index < at + countBytes; index++) this.#bytes[index] = 0;
    else this.#bytes.fill(0, at, at + countBytes);
    return this;
  }

  /** Overwrites four bytes written earlier, for lengths known only afterwards. */
  patchU32(at: number, value: number): void {
    checkRange(value, 0xffffffff);
    if (at + 4 > this.#length) throw new RangeError(`Cannot patch byte ${at}: only ${this.#length} are written`);
    this.#view.setUint32(at, value);
  }

  /** As `patchU32`, with eight bytes. */
  patchU64(at: number, value: bigint): void {
    if (at + 8 > this.#length) throw new RangeError(`Cannot patch byte ${at}: only ${this.#length} are written`);
    this.#view.setBigUint64(at, value);
  }

  /** As `patchU32`, with 32-bit words as they stand in `source` from byte `sourceAt` on. */
  patchWords(at: number, source: DataView, sourceAt: number, count: number): void {
    const end = at + count * 4;
    if (end > this.#length) throw new RangeError(`Cannot patch byte ${at}: only ${this.#length} are written`);
    const shift = sourceAt - at;
    for (let to = at; to < end; to += 4) this.#view.setUint32(to, source.getUint32(to + shift));
  }

  /** Forgets everything written after the first `lengthBytes`, to begin an answer anew. */
  truncate(lengthBytes: number): void {
    if (lengthBytes > this.#length) {
      throw new RangeError(`Cannot truncate to ${lengthBytes} bytes: only ${this.#length} are written`);
    }
    this.#length = lengthBytes;
  }

  /** A view of what was written. Valid until the next write. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

function checkRange(value: number, maximum: number): void {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new RangeError(`Cannot write ${value}: expected an integer from 0 to ${maximum}`);
  }
}
