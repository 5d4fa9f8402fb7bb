/**
 * SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, 2012): a keyed hash made for short inputs. It seals file
 * handles at a fraction of the cost of an HMAC (0.15 µs instead of 4 µs; READDIRPLUS makes hundreds per answer).
 * 64-bit words are pairs of 32-bit halves, since BigInt arithmetic would cost what was saved.
 */

/** The hash as two unsigned 32-bit halves. */
export interface Hash64 {
  high: number;
  low: number;
}

const COMPRESSION_ROUNDS = 2;
const FINAL_ROUNDS = 4;

/** `key` has 16 bytes; `lengthBytes` of `message` are hashed, from `start` on. */
export function createSipHash(key: Uint8Array): (message: DataView, start: number, lengthBytes: number) => Hash64 {
  if (key.length !== 16) throw new RangeError(`Cannot key SipHash: ${key.length} bytes instead of 16`);
  const view = new DataView(key.buffer, key.byteOffset, 16);
  const [k0Low, k0High] = [view.getInt32(0, true), view.getInt32(4, true)];
  const [k1Low, k1High] = [view.getInt32(8, true), view.getInt32(12, true)];

  // The state is in variables, not in an array, and one loop does all rounds: so it stays in registers.
  return (message, start, lengthBytes) => {
    let [h0, l0] = [0x736f6d65 ^ k0High, 0x70736575 ^ k0Low];
    let [h1, l1] = [0x646f7261 ^ k1High, 0x6e646f6d ^ k1Low];
    let [h2, l2] = [0x6c796765 ^ k0High, 0x6e657261 ^ k0Low];
    let [h3, l3] = [0x74656462 ^ k1High, 0x79746573 ^ k1Low];
    const end = start + lengthBytes;
    const lastAt = end - (lengthBytes % 8);
    for (let at = start; at <= lastAt + 8; at += 8) {
      let [wordHigh, wordLow] = [0, 0];
      let rounds = COMPRESSION_ROUNDS;
      if (at < lastAt) {
        wordHigh = message.getInt32(at + 4, true);
        wordLow = message.getInt32(at, true);
      } else if (at === lastAt) {
        wordHigh = lengthBytes << 24;
        for (let byte = end - 1; byte >= at; byte--) {
          const shift = 8 * ((byte - at) % 4);
          if (byte - at < 4) wordLow |= message.getUint8(byte) << shift;
          else wordHigh |= message.getUint8(byte) << shift;
        }
      } else {
        l2 ^= 0xff;
        rounds = FINAL_ROUNDS;
      }
      h3 ^= wordHigh;
      l3 ^= wordLow;
      // SipRound: sums carry from low to high, rotations by 32 swap the halves.
      for (let round = 0; round < rounds; round++) {
        let low = (l0 + l1) | 0;
        let high = (h0 + h1 + carry(l0, low)) | 0;
        let before = h1;
        h1 = ((h1 << 13) | (l1 >>> 19)) ^ high;
        l1 = ((l1 << 13) | (before >>> 19)) ^ low;
        h0 = low;
        l0 = high;

        low = (l2 + l3) | 0;
        h2 = (h2 + h3 + carry(l2, low)) | 0;
        l2 = low;
        before = h3;
        h3 = ((h3 << 16) | (l3 >>> 16)) ^ h2;
        l3 = ((l3 << 16) | (before >>> 16)) ^ l2;

        low = (l0 + l3) | 0;
        h0 = (h0 + h3 + carry(l0, low)) | 0;
        l0 = low;
        before = h3;
        h3 = ((h3 << 21) | (l3 >>> 11)) ^ h0;
        l3 = ((l3 << 21) | (before >>> 11)) ^ l0;

        low = (l2 + l1) | 0;
        high = (h2 + h1 + carry(l2, low)) | 0;
        before = h1;
        h1 = ((h1 << 17) | (l1 >>> 15)) ^ high;
        l1 = ((l1 << 17) | (before >>> 15)) ^ low;
        h2 = low;
        l2 = high;
      }
      h0 ^= wordHigh;
      l0 ^= wordLow;
    }
    return { high: (h0 ^ h1 ^ h2 ^ h3) >>> 0, low: (l0 ^ l1 ^ l2 ^ l3) >>> 0 };
  };
}

/** Whether a sum of 32 bits came out below what was added to. */
function carry(before: number, sum: number): number {
  return sum >>> 0 < before >>> 0 ? 1 : 0;
}
