/**
 * What comes from the network in one datagram: whatever the bytes, a decoder gives something sensible or throws
 * `DecodeError`. 20,000 inputs each; with SOAK set, a million. SEED repeats a run.
 */
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../src/bytes/decode-error.ts";
import { damagedInputs } from "./damaged-inputs.ts";
import { FUZZED_DECODERS } from "./fuzzed-decoders.ts";

const INPUTS = process.env.SOAK ? 1_000_000 : 20_000;
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);

describe(`with seed ${seed}`, () => {
  it.each(FUZZED_DECODERS)(
    "$name gives DecodeError and nothing else",
    ({ corpus, decode }) => {
      // What is damaged must have been right.
      for (const bytes of corpus) expect(() => decode(bytes)).not.toThrow();
      let refused = 0;
      for (const bytes of damagedInputs(corpus, INPUTS, seed)) {
        try {
          decode(bytes);
        } catch (error) {
          if (!(error instanceof DecodeError)) {
            throw new Error(`SEED=${seed}, input ${Buffer.from(bytes).toString("hex")}: ${error}`, { cause: error });
          }
          refused++;
        }
      }
      // The damage did reach the decoder, and did not stop everything at its first check.
      expect(refused).toBeGreaterThan(INPUTS * 0.05);
      expect(refused).toBeLessThan(INPUTS * 0.99);
    },
    900_000,
  );
});
