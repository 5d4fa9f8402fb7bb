/** Chance from a seed, so that a run can be had again. Good enough for faults and made-up numbers, not for secrets. */
import type { Random } from "../ports.ts";

/** mulberry32: uniform in [0, 1). */
export function seededChance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function seededRandom(seed: number): Random {
  const chance = seededChance(seed);
  return { bytes: (countBytes) => Uint8Array.from({ length: countBytes }, () => Math.floor(chance() * 256)) };
}
