/** qemu-nbd on loopback with a sparse file on this disk: what it has answered a flush for is durable. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "./nfs-servers.ts";

const START_ATTEMPTS = 600;

export interface NbdServer {
  port: number;
  stop(): Promise<void>;
}

export async function startQemuNbd(folder: string, sizeBytes: number): Promise<NbdServer> {
  const disk = join(folder, "nbd.img");
  writeFileSync(disk, "");
  truncateSync(disk, sizeBytes);
  // Written when it listens.
  const listening = join(folder, "nbd.pid");
  const port = await freePort();
  const words = [`--pid-file=${listening}`, "--bind=127.0.0.1", `--port=${port}`, "--persistent", "--format=raw"];
  const child = spawn("qemu-nbd", [...words, "--cache=writeback", "--aio=threads", "--discard=unmap", disk], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exit = once(child, "exit");
  for (let attempt = 1; !existsSync(listening); attempt += 1) {
    if (attempt === START_ATTEMPTS || child.exitCode !== null)
      throw new Error("Cannot measure: qemu-nbd did not start");
    await delay(50);
  }
  return {
    port,
    async stop() {
      child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await exit;
      clearTimeout(killer);
    },
  };
}
