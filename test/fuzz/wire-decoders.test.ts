/**
 * What comes from the network, in a datagram, a frame or a record: whatever the bytes, a decoder gives something sensible
 * or throws `DecodeError`. 20,000 inputs each; with SOAK set, a million. SEED repeats a run.
 */
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../src/bytes/decode-error.ts";
import { damagedInputs } from "./damaged-inputs.ts";
import { DHCP_DECODERS } from "./dhcp-decoders.ts";
import { FIRMWARE_DECODERS } from "./firmware-decoders.ts";
import { FRAME_DECODERS } from "./frame-decoders.ts";
import { NFS_DECODERS } from "./nfs-decoders.ts";
import { TEXT_DECODERS } from "./text-decoders.ts";
import { TFTP_DECODERS } from "./tftp-decoders.ts";

const DECODERS = [
  ...[...DHCP_DECODERS, ...FRAME_DECODERS, ...TFTP_DECODERS],
  ...[...NFS_DECODERS, ...FIRMWARE_DECODERS, ...TEXT_DECODERS],
];

const INPUTS = process.env.SOAK ? 1_000_000 : 20_000;
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);

describe(`with seed ${seed}`, () => {
  it.each(DECODERS)(
    "$name gives DecodeError and nothing else",
    ({ corpus, decode, takesAll }) => {
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
      if (takesAll) return expect(refused).toBe(0);
      // The damage did reach the decoder, and did not stop everything at its first check.
      expect(refused).toBeGreaterThan(INPUTS * 0.05);
      expect(refused).toBeLessThan(INPUTS * 0.99);
    },
    900_000,
  );
});
