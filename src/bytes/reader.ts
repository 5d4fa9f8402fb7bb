import { DecodeError } from "./decode-error.ts";

/**
 * A checked cursor over bytes. Every read past the end throws `DecodeError`; nothing is ever allocated
 * from a length that has not been checked against what is really there.
 * Integers are big-endian (network order) unless the name ends in `LE`.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #format: string;
  #position: number;

  constructor(bytes: Uint8Array, format: string, position = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#format = format;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  get remainingBytes(): number {
    return this.#bytes.length - this.#position;
  }

  #advance(countBytes: number, field: string): number {
    if (countBytes < 0 || countBytes > this.remainingBytes) {
      throw this.error(field, `needs ${countBytes} bytes, but only ${this.remainingBytes} are left`);
    }
    const at = this.#position;
    this.#position += countBytes;
    return at;
  }

  /** Builds the error for a value that was read but makes no sense. */
  error(field: string, why: string): DecodeError {
    return new DecodeError(this.#format, `${field} (byte ${this.#position})`, why);
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#advance(1, field));
  }

  u16(field: string): number {
    return this.#view.getUint16(this.#advance(2, field));
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#advance(4, field));
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(8, field));
  }

  u16LE(field: string): number {
    return this.#view.getUint16(this.#advance(2, field), true);
  }

  u32LE(field: string): number {
    return this.#view.getUint32(this.#advance(4, field), true);
  }

  u64LE(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(8, field), true);
  }

  /** A view (not a copy) of the next `countBytes` bytes. */
  bytes(countBytes: number, field: string): Uint8Array {
    const at = this.#advance(countBytes, field);
    return this.#bytes.subarray(at, at + countBytes);
  }

  rest(): Uint8Array {
    return this.bytes(this.remainingBytes, "rest");
  }

  skip(countBytes: number, field: string): void {
    this.#advance(countBytes, field);
  }

  /** Proves that nothing is left over. */
  end(): void {
    if (this.remainingBytes !== 0) throw this.error("end", `${this.remainingBytes} bytes are left over`);
  }
}
