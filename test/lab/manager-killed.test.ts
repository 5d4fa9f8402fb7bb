/** The manager dies at random moments of a boot and is started again: the nodes go on, or boot again, and nothing is corrupt. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { SeededRandom } from "../soak/seeded-random.ts";
import { demoImage } from "./demo-image.ts";
import { Simulation } from "./simulation.ts";

const KILLS = 8;
const PAUSE_MS = { min: 500, max: 6000 };

let cluster: Simulation;

beforeAll(async () => {
  cluster = new Simulation({ image: demoImage(), nodes: 2 });
  await cluster.wait("power is on", (event) => event.kind === "power-on");
}, 300_000);

afterAll(() => cluster.stop(), 60_000);

it("survives SIGKILL at any moment of the boot", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed} (run again with SEED=${seed})`);
  const random = new SeededRandom(seed);
  const up = Promise.all(["node1", "node2"].map((node) => cluster.waitUp(node)));
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((done) => setTimeout(done, PAUSE_MS.min + random.fraction() * (PAUSE_MS.max - PAUSE_MS.min)));
    cluster.killManager();
  }
  await up;
  await Promise.all(["node1", "node2"].map((node) => untilUpAgain(node)));
  const { nodes } = cluster.status();
  expect(nodes.map((node) => node.stage)).toEqual(["up", "up"]);
  expect(cluster.events.filter((event) => event.kind === "kernel-panic")).toEqual([]);
  // The kernel's command line, with its panic=10, is on the console too.
  const troubles = ["node1", "node2"].flatMap((node) =>
    cluster.console(node).match(/^.*(I\/O error|Stale file handle|Input\/output error|Kernel panic|[Oo]ops).*$/gm),
  );
  expect(troubles).toEqual([null, null]);
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
