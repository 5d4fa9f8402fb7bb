/**
 * A list of domain names as DHCP option 119 holds it: RFC 3397 section 2, with the compression of RFC 1035 section
 * 4.1.4. Left out: names that are not ASCII (write them in their `xn--` form).
 */
import { DecodeError } from "../bytes/decode-error.ts";

const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
/** The two top bits of a length byte say that the other fourteen are where the name goes on. */
const POINTER = 0xc0;
const POINTER_OFFSET_MAX = 0x3fff;

/** Throws `RangeError` for a name with an empty or too long label. */
export function encodeDomainNames(names: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  const offsets = new Map<string, number>();
  for (const name of names) {
    const labels = name.split(".");
    for (let at = 0; ; at++) {
      const rest = labels.slice(at).join(".");
      const earlier = offsets.get(rest);
      if (at === labels.length) {
        bytes.push(0);
        break;
      }
      if (earlier !== undefined) {
        bytes.push(POINTER | (earlier >> 8), earlier & 0xff);
        break;
      }
      if (bytes.length <= POINTER_OFFSET_MAX) offsets.set(rest, bytes.length);
      const label = Buffer.from(labels[at]!, "latin1");
      if (label.length === 0 || label.length > LABEL_BYTES_MAX) {
        throw new RangeError(`Cannot write domain name ${name}: a part of it has ${label.length} bytes`);
      }
      bytes.push(label.length, ...label);
    }
  }
  return Uint8Array.from(bytes);
}

/** Throws `DecodeError`. */
export function decodeDomainNames(bytes: Uint8Array, format: string): string[] {
  const names: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { name, next } = decodeName(bytes, at, format);
    names.push(name);
    at = next;
  }
  return names;
}

/** `next` is where the list goes on. A pointer leads to an earlier place only, so there are no loops. */
function decodeName(bytes: Uint8Array, start: number, format: string): { name: string; next: number } {
  const labels: string[] = [];
  let sizeBytes = 0;
  let next: number | undefined;
  let pointedFrom = start;
  for (let at = start; ; ) {
    const length = bytes[at];
    if (length === undefined) throw new DecodeError(format, `byte ${at}`, "the name has no end");
    if (length === 0) return { name: labels.join("."), next: next ?? at + 1 };
    if (length >= POINTER) {
      const target = ((length & ~POINTER) << 8) | (bytes[at + 1] ?? 0);
      if (at + 1 >= bytes.length || target >= pointedFrom) {
        throw new DecodeError(format, `byte ${at}`, "the pointer does not lead to an earlier name");
      }
      next ??= at + 2;
      pointedFrom = target;
      at = target;
      continue;
    }
    if (length > LABEL_BYTES_MAX) throw new DecodeError(format, `byte ${at}`, `${length} is no length of a label`);
    if (at + 1 + length > bytes.length)
      throw new DecodeError(format, `byte ${at}`, "the label is longer than the rest");
    sizeBytes += 1 + length;
    if (sizeBytes >= NAME_BYTES_MAX)
      throw new DecodeError(format, `byte ${start}`, "the name is longer than 255 bytes");
    labels.push(Buffer.from(bytes.subarray(at + 1, at + 1 + length)).toString("latin1"));
    at += 1 + length;
  }
}
