/** The power is cut at random events of a simulated disk; `make soak` does it 5,000 times. */
import { expect, it } from "vitest";
import { run } from "./power-cut.ts";

const CUTS = 100;

const DURABILITIES = ["sync", "async"] as const;

it.each(DURABILITIES)(
  "loses nothing that it promised (%s) when the power is cut",
  { timeout: 240_000 },
  async (durability) => {
    const seed = process.env.SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env.SEED);
    // A failure tells the seed.
    const { cuts, operations } = await run(CUTS, seed, durability);
    expect(cuts).toBeGreaterThanOrEqual(CUTS);
    expect(operations).toBeGreaterThan(50);
  },
);
