/**
 * Reads by TFTP, beside dnsmasq: the same file of the size of a kernel, in turn, for 1 to 200 clients at a time, on loopback. Both
 * serve it from the page cache. Needs gcc, dnsmasq, and root for dnsmasq's port 69.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIpv4 } from "../src/bytes/addresses.ts";
import { systemClock } from "../src/system/clock.ts";
import { createUdpSockets } from "../src/system/udp.ts";
import { startTftpServer } from "../src/tftp/server.ts";
import { compile, numbersOf } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";

const FILE_BYTES = 10 * 1024 * 1024;
const SECONDS = 2;
const ROUNDS = 3;
/** Clients at a time, the size of a block, and what was promised. */
const CELLS: [clients: number, blockBytes: number, goal: string][] = [
  [1, 1408, ">=2"],
  [8, 1408, ">=2"],
  [64, 1408, ">=1"],
  [200, 1408, ">=1"],
  [64, 1024, ">=1"],
];
const LOOPBACK = parseIpv4("127.0.0.1");

export async function run(report: (line: Measure) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bramble-bench-tftp-"));
  try {
    writeFileSync(join(folder, "kernel"), Buffer.alloc(FILE_BYTES, "kernel"));
    const program = compile("tftp-load", folder);
    const megabytesPerSecond = async (port: number, clients: number, blockBytes: number) => {
      const args = [LOOPBACK, `${port}`, "kernel", `${clients}`, `${SECONDS}`, `${blockBytes}`];
      const [bytes = 0, , , failures = 0, seconds = 1] = await numbersOf(program, args);
      if (failures > 0) throw new Error(`Cannot measure: ${failures} transfers from port ${port} failed`);
      return bytes / seconds / 1e6;
    };
    const ours = await startOurs(folder);
    const peer = await startDnsmasq(folder);
    try {
      for (const [clients, blockBytes, goal] of CELLS) {
        let [best, peerBest] = [0, 0];
        for (let round = 0; round < ROUNDS; round++) {
          peerBest = Math.max(peerBest, await megabytesPerSecond(peer.port, clients, blockBytes));
          best = Math.max(best, await megabytesPerSecond(ours.port, clients, blockBytes));
        }
        report({ name: `tftp.clients${clients}.blocks${blockBytes}`, ours: best, peer: peerBest, unit: "MB/s", goal });
      }
    } finally {
      ours.stop();
      await peer.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startOurs(folder: string) {
  const server = await startTftpServer({
    sockets: await createUdpSockets(),
    clock: systemClock,
    binding: { address: LOOPBACK, port: 0 },
    observe: () => {},
    handler: {
      open({ path }) {
        const fd = openSync(join(folder, path), "r");
        return {
          kind: "file",
          sizeBytes: FILE_BYTES,
          read: (target, offset) => readSync(fd, target, 0, target.length, offset),
          close: () => closeSync(fd),
        };
      },
    },
  });
  return { port: server.localPort, stop: () => server.close() };
}

async function startDnsmasq(folder: string) {
  const child = spawn(
    "dnsmasq",
    [
      ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=lo", "--bind-interfaces"],
      ...["--enable-tftp", `--tftp-root=${folder}`, "--tftp-max=1000"],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  for await (const text of child.stderr.iterator({ destroyOnReturn: false })) {
    if (!String(text).includes("TFTP root")) continue;
    child.stderr.resume();
    return {
      port: 69,
      stop: async () => {
        child.kill();
        await once(child, "exit");
      },
    };
  }
  throw new Error("Cannot measure: dnsmasq did not start; something may have port 69");
}
