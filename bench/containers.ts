/**
 * Storage for containers: the loop device over the node's NFS root that nodes have, beside what it could be instead. Ours is
 * always the loop device. First the requests of fsyncs alone, then all that containers do, in a virtual machine. Needs
 * qemu-nbd, QEMU, gcc and root.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { containerWork, FIGURES, type Figure, STORAGES } from "./instruments/container-work.ts";
import { compile, compileAlone, numbersOf } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";
import { startQemuNbd } from "./instruments/nbd-server.ts";
import { type NfsServer, startManagerProcess } from "./instruments/nfs-servers.ts";
import { benchTree } from "./instruments/nfs-tree.ts";

const ROUNDS = 15;
const SECONDS = 1;
const DEVICE_BYTES = 256 * 1024 ** 2;

type Report = (line: Measure) => void;

export async function run(report: Report): Promise<void> {
  // On a disk: /tmp may be memory, where nothing has to be flushed.
  mkdirSync(".cache", { recursive: true });
  const folder = resolve(mkdtempSync(join(".cache", "bench-containers-")));
  try {
    const attach = compileAlone("nbd-attach", folder);
    const server = await startManagerProcess(join(folder, "manager"), benchTree().image);
    try {
      await measureRequests(report, server, folder);
      const figures = await containerWork(server, folder, attach);
      for (const storage of STORAGES.filter((each) => each !== "loop")) {
        for (const figure of Object.keys(FIGURES) as Figure[]) {
          const [ours, peer] = [figures.loop[figure], figures[storage][figure]];
          report({ name: `containers.${figure}.beside-${storage}`, ours, peer, unit: FIGURES[figure], goal: ">=0" });
        }
      }
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In turns, and the best round of each: the least disturbed one. */
async function measureRequests(report: Report, server: NfsServer, folder: string): Promise<void> {
  const [nfsLoad, nbdLoad] = [compile("nfs-load", folder), compile("nbd-load", folder)];
  const nfsWords = [
    "127.0.0.1",
    `${server.nfsPort}`,
    `${server.mountPort}`,
    server.path,
    "fsync",
    "1",
    "1",
    `${SECONDS}`,
  ];
  const nbd = await startQemuNbd(folder, DEVICE_BYTES);
  try {
    const best = { ours: 0, peer: 0 };
    const rate = ([count = 0, , seconds = 1]: number[]) => count / seconds;
    for (let round = 0; round < ROUNDS; round += 1) {
      best.peer = Math.max(best.peer, rate(await numbersOf(nbdLoad, ["127.0.0.1", `${nbd.port}`, `${SECONDS}`])));
      best.ours = Math.max(best.ours, rate(await numbersOf(nfsLoad, nfsWords)));
    }
    report({ name: "containers.fsync-requests.beside-nbd", ...best, unit: "op/s", goal: ">=0" });
  } finally {
    await nbd.stop();
  }
}
