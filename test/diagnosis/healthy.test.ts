/** No false alarms: boards of all models boot on a network that loses a packet in 200, and nothing is diagnosed. */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { VIRTUAL_MODELS } from "../../src/simulator/models.ts";
import { seededRandom } from "../../src/simulator/seed.ts";
import { BOOT_FILES, DiagnosedNetwork, makeTestBoard } from "./diagnosed-network.ts";
import type { SystemScript } from "./scripted-machines.ts";

/** Some 400 blocks on the wire. */
function largeKernel(): Uint8Array {
  const image = Buffer.from(seededRandom(7).bytes(500_000));
  image.write("ARM\x64", 0x38, "latin1");
  return gzipSync(image);
}

const kernel = largeKernel();
const FILES = { ...BOOT_FILES, "kernel8.img": kernel, "kernel_2712.img": kernel };
const LOSS = [{ name: "loss", probability: 0.005 }] as const;
const MODELS = VIRTUAL_MODELS.map(({ pi }) => pi.id);
const BOARDS = 20;

/** A kernel and a system as they should be. */
function healthySystem(network: DiagnosedNetwork, node: string, bootId: string): SystemScript {
  return async (linux, wait) => {
    await wait(12_000);
    let address = await Promise.race([linux.address(), wait(4000)]);
    while (address === undefined) address = await Promise.race([linux.address(), wait(4000)]);
    await wait(500);
    network.mount(node, address);
    const activity = {
      kind: "root-activity",
      operations: 200,
      readBytes: 1e6,
      writtenBytes: 1e4,
      failures: 0,
    } as const;
    for (let second = 0; second < 25; second++) {
      network.report({ ...activity, p50Ms: 1, p99Ms: 40 }, node);
      await wait(1000);
    }
    network.report({ kind: "up", bootId }, node);
    await wait(40_000);
    network.report({ kind: "shutdown-seen" }, node);
    await wait(2000);
    return { kind: "power-off" };
  };
}

describe("a hundred healthy boots", () => {
  it.each([
    ["server", 1],
    ["server", 2],
    ["proxy", 3],
    ["proxy", 4],
    ["server", 5],
  ] as const)("dhcp: %s, seed %i: 20 boards of all models, and no diagnosis", async (mode, seed) => {
    const boards = Array.from({ length: BOARDS }, (_, index) =>
      makeTestBoard(MODELS[(index + seed) % MODELS.length]!, index + 1),
    );
    const network = await DiagnosedNetwork.start({ mode, boards, seed, files: FILES });
    for (const [index, board] of boards.entries()) {
      const node = `node${index + 1}`;
      network.clock.after(index * 300, () => {
        network.powerOn(board, { cable: LOSS, system: healthySystem(network, node, `${seed}-${index}`) });
      });
    }
    await network.pass(240_000);
    const ups = network.events.filter(({ kind }) => kind === "up");
    expect(new Set(ups.map(({ node }) => node)).size).toBe(BOARDS);
    expect(network.named).toEqual([]);
  });
});
