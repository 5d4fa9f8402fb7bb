/** Whatever reaches a virtual Pi, and whatever it sends to our servers, ends in a boot or in a failure with a name. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VirtualNetwork } from "../../test/virtual-network.ts";
import type { EthernetPort } from "../ports.ts";
import { seededChance } from "./seed.ts";

/** Of some frames a few bytes are others, or the end is missing; checksums are not made to fit. */
function damaging(port: EthernetPort, probability: number, chance: () => number): EthernetPort {
  const damage = (frame: Uint8Array) => {
    if (chance() >= probability) return frame;
    const damaged = frame.slice(0, chance() < 0.2 ? Math.floor(chance() * frame.length) : frame.length);
    for (let count = 1 + Math.floor(chance() * 4); count > 0 && damaged.length > 0; count--) {
      // Mostly past the headers: what a checksum covers is dropped at once.
      const from = chance() < 0.8 ? Math.min(42, damaged.length - 1) : 0;
      damaged[from + Math.floor(chance() * (damaged.length - from))] = Math.floor(chance() * 256);
    }
    return damaged;
  };
  return {
    send: (frame) => port.send(damage(frame)),
    onFrame: (handler) => port.onFrame((frame) => handler(damage(frame))),
    close: () => port.close(),
  };
}

describe("over a cable that damages frames", () => {
  it.each(["3b", "3b+", "4", "5"])("a Pi %s boots or says why not", async (model) => {
    let booted = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.double({ min: 0, max: 0.3, noNaN: true }), async (seed, probability) => {
        const network = new VirtualNetwork({ seed });
        const board = network.board(model);
        await network.serve({ mode: "server", boards: [board] });
        const cable = (port: EthernetPort) => damaging(port, probability, seededChance(seed));
        const outcome = await network.run(network.boot(board, {}, cable));
        expect(outcome.booted ?? outcome.failure).toBeDefined();
        if (outcome.booted) booted++;
      }),
      { numRuns: 20, endOnFailure: true },
    );
    expect(booted).toBeGreaterThan(0);
  });
});
