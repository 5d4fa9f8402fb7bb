/** What a booted cluster costs on the manager's disk: the image once, and next to nothing for each node. */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { demoImage } from "./demo-image.ts";
import { requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const NODES = ["node1", "node2"];
const NODE_KIB_MAX = 1024;
/** Beside the disk image: its metadata, and what the file system needs for the folders. */
const IMAGE_EXTRA_KIB = 64;

describe.skipIf(requireTools(["qemu-system-aarch64", "du"]))("the disk of a manager whose two nodes are up", () => {
  let cluster: Simulation;

  beforeAll(async () => {
    cluster = new Simulation({ image: demoImage(), nodes: NODES.length });
    await Promise.all(NODES.map((node) => cluster.waitUp(node)));
  }, 300_000);

  afterAll(() => cluster.stop(), 60_000);

  it("holds less than 1 MiB for each node, with all that keeps their trees", () => {
    const kib = allocatedKib(join(cluster.folder, "trees")) + allocatedKib(join(cluster.folder, "data"));
    console.log(`${kib} KiB for ${NODES.length} nodes`);
    expect(kib / NODES.length).toBeLessThan(NODE_KIB_MAX);
  });

  it("holds the image once, and nothing else that is large", () => {
    const images = join(cluster.folder, "images");
    const disks = readdirSync(images, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".img"));
    expect(disks).toHaveLength(1);
    const diskKib = allocatedKib(join(images, disks[0]!));
    expect(diskKib).toBeGreaterThan(10 * 1024);
    expect(allocatedKib(images) - diskKib).toBeLessThan(IMAGE_EXTRA_KIB);
    expect(allocatedKib(cluster.folder) - diskKib).toBeLessThan((NODES.length + 1) * NODE_KIB_MAX);
  });
});

/** What the disk gives for it, not the length of its files: images and LMDB's file are sparse. */
function allocatedKib(path: string): number {
  return Number(execFileSync("du", ["-sk", path], { encoding: "utf8" }).split("\t")[0]);
}
