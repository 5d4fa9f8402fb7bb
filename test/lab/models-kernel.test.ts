/**
 * A Pi 3B up to its login on a machine that is one by its device tree: QEMU's raspi3b, with the network at its USB port.
 * Several times as slow as the machine of other tests, so `make soak` only.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { debianImage, missingImages } from "./images.ts";
import { leftToSoak } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const BOOT_TIMEOUT_MS = 900_000;
const skipped = leftToSoak || missingImages();

let cluster: Simulation | undefined;
beforeAll(() => {
  if (!skipped) cluster = new Simulation({ image: debianImage(), nodes: 1, model: "3b" });
}, 120_000);
afterAll(() => cluster?.stop(), 60_000);

it.skipIf(skipped)(
  "a Pi 3B boots Debian's kernel with the 3B's device tree, and reports itself up",
  async () => {
    await cluster!.waitUp("node1", BOOT_TIMEOUT_MS);
    expect(cluster!.console("node1")).toContain("Machine model: Raspberry Pi 3 Model B");
    expect(cluster!.status().nodes[0]).toMatchObject({ name: "node1", stage: "up", model: "3b" });
  },
  BOOT_TIMEOUT_MS,
);
