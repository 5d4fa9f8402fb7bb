import { describe, expect, it } from "vitest";
import { createSipHash } from "./siphash.ts";

const KEY = Uint8Array.from({ length: 16 }, (_, index) => index);

/** The authors' test vectors for SipHash-2-4: message 00 01 02 … of the given length, result bytes little-endian. */
const VECTORS: [lengthBytes: number, result: string][] = [
  [0, "310e0edd47db6f72"],
  [1, "fd67dc93c539f874"],
  [7, "37d1018bf50002ab"],
  [8, "6224939a79f5f593"],
  [15, "e545be4961ca29a1"],
];

describe("SipHash-2-4", () => {
  it.each(VECTORS)("of %i bytes is the authors' vector %s", (lengthBytes, result) => {
    const message = new DataView(Uint8Array.from({ length: lengthBytes }, (_, index) => index).buffer);
    const { high, low } = createSipHash(KEY)(message, 0, lengthBytes);
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(low, 0);
    bytes.writeUInt32LE(high, 4);
    expect(bytes.toString("hex")).toBe(result);
    // The same bytes in the midst of others.
    const around = new Uint8Array(40).fill(255);
    around.set(new Uint8Array(message.buffer), 5);
    expect(createSipHash(KEY)(new DataView(around.buffer), 5, lengthBytes)).toEqual({ high, low });
  });
});
