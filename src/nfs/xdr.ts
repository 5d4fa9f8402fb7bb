/**
 * XDR, the encoding of ONC RPC and NFS: RFC 4506. Every item is a multiple of four bytes, big-endian.
 * Left out: floating point, unions as such (their callers read the discriminant), and anything not in RFC 1813.
 *
 * 64-bit numbers are plain numbers where this program can only mean values up to 2^53 (sizes, offsets, ids).
 */
import { type FileName, fileNameFromBytes } from "../bytes/file-name.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import type { FileRange } from "../ports.ts";

const TWO_TO_32 = 0x1_0000_0000;

export class XdrReader extends Reader {
  bool(field: string): boolean {
    const value = this.u32(field);
    if (value > 1) throw this.error(field, `${value} is neither TRUE (1) nor FALSE (0)`);
    return value === 1;
  }

  /** `unsigned hyper` as a number; exact up to 2^53, and above any possible file size beyond that. */
  hyper(field: string): number {
    const high = this.u32(field);
    return high * TWO_TO_32 + this.u32(field);
  }

  /** `opaque<maxBytes>`: a view of the bytes, not a copy. */
  opaque(maxBytes: number, field: string): Uint8Array {
    const lengthBytes = this.u32(field);
    if (lengthBytes > maxBytes) throw this.error(field, `${lengthBytes} bytes, but at most ${maxBytes} are allowed`);
    const value = this.bytes(lengthBytes, field);
    this.skip(-lengthBytes & 3, field);
    return value;
  }

  /** A `string<>` that names something. Its length is judged by the caller, with the NFS error that fits. */
  name(field: string): FileName {
    return fileNameFromBytes(this.opaque(this.remainingBytes, field));
  }
}

/** Bytes of a file that go between those written before `at` and those from there on. */
export interface FilePiece {
  at: number;
  range: FileRange;
}

const NO_FILES: FilePiece[] = [];

export class XdrWriter extends Writer {
  #files = NO_FILES;

  /** By rising place. Not among the bytes that `finish` gives. */
  get files(): readonly FilePiece[] {
    return this.#files;
  }

  /** Of what `files` adds. */
  get fileBytes(): number {
    let sum = 0;
    for (const { range } of this.#files) sum += range.lengthBytes;
    return sum;
  }

  bool(value: boolean): this {
    return this.u32(value ? 1 : 0);
  }

  hyper(value: number): this {
    const high = Math.floor(value / TWO_TO_32);
    return this.u32(high).u32(value - high * TWO_TO_32);
  }

  opaque(value: Uint8Array): this {
    return this.u32(value.length).bytes(value).#pad(value.length);
  }

  /** `opaque` of bytes that are left where they are: only for a reply to a connection, which sends them from there. */
  opaqueFile(range: FileRange): this {
    this.u32(range.lengthBytes);
    if (this.#files === NO_FILES) this.#files = [];
    this.#files.push({ at: this.lengthBytes, range });
    return this.#pad(range.lengthBytes);
  }

  override truncate(lengthBytes: number): void {
    super.truncate(lengthBytes);
    if (this.#files !== NO_FILES) this.#files = this.#files.filter(({ at }) => at <= lengthBytes);
  }

  name(value: FileName): this {
    return this.u32(value.length).latin1(value).#pad(value.length);
  }

  #pad(lengthBytes: number): this {
    return (lengthBytes & 3) === 0 ? this : this.zeros(-lengthBytes & 3);
  }
}

/** Writes (part of) a reply. It runs when all is known, in one go. */
export type Encode = (reply: XdrWriter) => void;
