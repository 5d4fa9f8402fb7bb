/** The manager dies at random moments of a boot and is started again: the nodes go on, or boot again, and nothing is corrupt. */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Simulation } from "./simulation.ts";

const KILLS = 8;
const PAUSE_MS = { min: 500, max: 6000 };

let cluster: Simulation;

beforeAll(() => {
  const builder = resolve(import.meta.dirname, "../../tools/demo-image.mjs");
  const image = execFileSync(process.execPath, [builder], { encoding: "utf8" }).trim().split("\n").at(-1)!;
  cluster = new Simulation({ image, nodes: 2 });
}, 300_000);

afterAll(() => cluster.stop(), 60_000);

it("survives SIGKILL at any moment of the boot", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed} (run again with SEED=${seed})`);
  const random = generator(seed);
  const up = Promise.all(["node1", "node2"].map((node) => cluster.waitUp(node)));
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((done) => setTimeout(done, PAUSE_MS.min + random() * (PAUSE_MS.max - PAUSE_MS.min)));
    cluster.killManager();
  }
  await up;
  await Promise.all(["node1", "node2"].map((node) => untilUpAgain(node)));
  const { nodes } = cluster.status();
  expect(nodes.map((node) => node.stage)).toEqual(["up", "up"]);
  expect(cluster.events.filter((event) => event.kind === "kernel-panic")).toEqual([]);
  const panics = ["node1", "node2"].map((node) =>
    /I\/O error|Stale file handle|EXT4-fs error|panic/.exec(cluster.console(node)),
  );
  expect(panics).toEqual([null, null]);
}, 400_000);

/** A kill after `up` leaves a manager that is still starting. */
async function untilUpAgain(node: string): Promise<void> {
  for (;;) {
    try {
      if (cluster.status().nodes.find((each) => each.name === node)?.stage === "up") return;
    } catch {
      // It is away for a moment.
    }
    await new Promise((done) => setTimeout(done, 500));
  }
}

/** Mulberry32: small, and the same for the same seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
