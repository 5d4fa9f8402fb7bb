/** Inputs for decoders: real packets, damaged. A seed gives the same ones again. */
import { SeededRandom } from "../soak/seeded-random.ts";

/** Lengths, markers and pointers are most often wrong in these ways. */
const TELLING_BYTES = [0, 1, 2, 4, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
const DAMAGES_MAX = 6;
const GROWTH_BYTES_MAX = 64;

/** Each is its own copy. One in sixteen is a packet as it was, one in sixteen is noise. */
export function* damagedInputs(corpus: readonly Uint8Array[], count: number, seed: number): Generator<Uint8Array> {
  const random = new SeededRandom(seed);
  const below = (end: number) => random.below(end);
  const noise = (lengthBytes: number) => Uint8Array.from({ length: lengthBytes }, () => below(256));

  const damages: readonly ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => {
      if (bytes.length > 0) bytes[below(bytes.length)]! ^= 1 << below(8);
      return bytes;
    },
    (bytes) => {
      if (bytes.length > 0) bytes[below(bytes.length)] = random.pick(TELLING_BYTES);
      return bytes;
    },
    (bytes) => bytes.slice(0, below(bytes.length + 1)),
    (bytes) => Buffer.concat([bytes, noise(below(GROWTH_BYTES_MAX))]),
    (bytes) => {
      const at = below(bytes.length + 1);
      return Buffer.concat([bytes.subarray(0, at), noise(below(8)), bytes.subarray(at)]);
    },
    (bytes) => {
      const from = below(bytes.length + 1);
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + below(8))]);
    },
    (bytes) => {
      const other = random.pick(corpus);
      return Buffer.concat([bytes.subarray(0, below(bytes.length + 1)), other.subarray(below(other.length + 1))]);
    },
  ];

  for (let i = 0; i < count; i++) {
    const kind = below(16);
    let bytes: Uint8Array = kind === 0 ? noise(below(600)) : Uint8Array.from(random.pick(corpus));
    for (let left = kind <= 1 ? 0 : 1 + below(DAMAGES_MAX); left > 0; left--) bytes = random.pick(damages)(bytes);
    yield bytes;
  }
}
