/**
 * SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, 2012): a keyed hash made for short inputs. It seals file
 * handles at a fraction of the cost of an HMAC (0.3 µs instead of 4 µs; READDIRPLUS makes hundreds per answer).
 * 64-bit words are pairs of 32-bit halves, since BigInt arithmetic would cost what was saved.
 */

/** The hash as two unsigned 32-bit halves. */
export interface Hash64 {
  high: number;
  low: number;
}

/** The words v0..v3 a key starts with, each as high then low half. */
function initialState(key: DataView): Int32Array {
  const k0Low = key.getInt32(0, true);
  const k0High = key.getInt32(4, true);
  const k1Low = key.getInt32(8, true);
  const k1High = key.getInt32(12, true);
  return Int32Array.of(
    0x736f6d65 ^ k0High,
    0x70736575 ^ k0Low,
    0x646f7261 ^ k1High,
    0x6e646f6d ^ k1Low,
    0x6c796765 ^ k0High,
    0x6e657261 ^ k0Low,
    0x74656462 ^ k1High,
    0x79746573 ^ k1Low,
  );
}

/** `key` has 16 bytes; `message` is hashed from its start up to `lengthBytes`. */
export function createSipHash(key: Uint8Array): (message: DataView, lengthBytes: number) => Hash64 {
  if (key.length !== 16) throw new RangeError(`Cannot key SipHash: ${key.length} bytes instead of 16`);
  const initial = initialState(new DataView(key.buffer, key.byteOffset, 16));
  const v = new Int32Array(8);

  return (message, lengthBytes) => {
    v.set(initial);
    const wholeBytes = lengthBytes - (lengthBytes % 8);
    for (let at = 0; at < wholeBytes; at += 8) absorb(v, message.getInt32(at + 4, true), message.getInt32(at, true));
    let lastHigh = lengthBytes << 24;
    let lastLow = 0;
    for (let at = wholeBytes; at < lengthBytes; at++) {
      const shift = 8 * (at % 4);
      if (at - wholeBytes < 4) lastLow |= message.getUint8(at) << shift;
      else lastHigh |= message.getUint8(at) << shift;
    }
    absorb(v, lastHigh, lastLow);
    v[5] = v[5]! ^ 0xff;
    rounds(v, 4);
    return { high: (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0, low: (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0 };
  };
}

function absorb(v: Int32Array, high: number, low: number): void {
  v[6] = v[6]! ^ high;
  v[7] = v[7]! ^ low;
  rounds(v, 2);
  v[0] = v[0]! ^ high;
  v[1] = v[1]! ^ low;
}

/** SipRound, with the halves in local variables: sums carry from low to high, rotations by 32 swap the names. */
function rounds(v: Int32Array, count: number): void {
  let [h0, l0, h1, l1, h2, l2, h3, l3] = [v[0]!, v[1]!, v[2]!, v[3]!, v[4]!, v[5]!, v[6]!, v[7]!];
  let sum: number;
  let high: number;
  for (let round = 0; round < count; round++) {
    sum = (l0 >>> 0) + (l1 >>> 0);
    h0 = (h0 + h1 + (sum > 0xffffffff ? 1 : 0)) | 0;
    l0 = sum | 0;
    high = h1;
    h1 = ((h1 << 13) | (l1 >>> 19)) ^ h0;
    l1 = ((l1 << 13) | (high >>> 19)) ^ l0;
    [h0, l0] = [l0, h0];

    sum = (l2 >>> 0) + (l3 >>> 0);
    h2 = (h2 + h3 + (sum > 0xffffffff ? 1 : 0)) | 0;
    l2 = sum | 0;
    high = h3;
    h3 = ((h3 << 16) | (l3 >>> 16)) ^ h2;
    l3 = ((l3 << 16) | (high >>> 16)) ^ l2;

    sum = (l0 >>> 0) + (l3 >>> 0);
    h0 = (h0 + h3 + (sum > 0xffffffff ? 1 : 0)) | 0;
    l0 = sum | 0;
    high = h3;
    h3 = ((h3 << 21) | (l3 >>> 11)) ^ h0;
    l3 = ((l3 << 21) | (high >>> 11)) ^ l0;

    sum = (l2 >>> 0) + (l1 >>> 0);
    h2 = (h2 + h1 + (sum > 0xffffffff ? 1 : 0)) | 0;
    l2 = sum | 0;
    high = h1;
    h1 = ((h1 << 17) | (l1 >>> 15)) ^ h2;
    l1 = ((l1 << 17) | (high >>> 15)) ^ l2;
    [h2, l2] = [l2, h2];
  }
  v[0] = h0;
  v[1] = l0;
  v[2] = h1;
  v[3] = l1;
  v[4] = h2;
  v[5] = l2;
  v[6] = h3;
  v[7] = l3;
}
