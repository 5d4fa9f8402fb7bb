/**
 * Storage for containers: the loop device over the node's NFS root that nodes have, beside what it could be instead. Ours is
 * always the loop device. Needs qemu-nbd, QEMU, gcc and root.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { containerWork, FIGURES, type Figure, STORAGES } from "./instruments/container-work.ts";
import { compileAlone } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";
import { startManagerProcess } from "./instruments/nfs-servers.ts";
import { benchTree } from "./instruments/nfs-tree.ts";

export async function run(report: (line: Measure) => void): Promise<void> {
  mkdirSync(".cache", { recursive: true });
  const folder = resolve(mkdtempSync(join(".cache", "bench-containers-")));
  try {
    const attach = compileAlone("nbd-attach", folder);
    const server = await startManagerProcess(join(folder, "manager"), benchTree().image);
    const figures = await containerWork(server, folder, attach).finally(() => server.stop());
    for (const storage of STORAGES.filter((each) => each !== "loop")) {
      for (const figure of Object.keys(FIGURES) as Figure[]) {
        const [ours, peer] = [figures.loop[figure], figures[storage][figure]];
        report({ name: `containers.${figure}.beside-${storage}`, ours, peer, unit: FIGURES[figure], goal: ">=0" });
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
