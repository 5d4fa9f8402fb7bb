/** What a Linux NFS client in a virtual machine does on a node's tree, and on the same tree served by nfs-ganesha. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runMission } from "../../test/lab/nfs-virtual-machine.ts";
import { numbersOf } from "./load-generator.ts";
import type { Measure } from "./measure.ts";
import { type NfsServer, startGanesha, startManagerProcess } from "./nfs-servers.ts";
import type { BenchTree } from "./nfs-tree.ts";

const SMALL_FILES = 20_000;
const FILES_PER_FOLDER = 200;
const LARGE_FILE_MIB = 1024;
const TIMEOUT_MS = 900_000;
const SMALL_FILE_ROUNDS = 3;

/** Shell, with what its seconds stand for. Each ends with everything on the server's disk. */
const WORK = [
  { name: "untar", command: "mkdir bench-untar && tar -xf /big -C bench-untar && sync" },
  { name: "write", command: `dd if=/dev/zero of=bench-large bs=1M count=${LARGE_FILE_MIB} conv=fsync 2>/dev/null` },
];

export async function measureKernelClient(
  report: (line: Measure) => void,
  program: string,
  tree: BenchTree,
  folder: string,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const archive = smallFiles(folder);
  const copy = join(folder, "tree");
  execFileSync("cp", ["-a", tree.folder, copy]);
  const ours = await startManagerProcess(join(folder, "manager"), tree.image);
  try {
    const peer = await startGanesha(join(folder, "ganesha"), copy);
    try {
      const measureFiles = (name: string, server: NfsServer) => measureSmallFiles(report, name, program, server, peer);
      await measureFiles("nfs.small-files", ours);
      // What nfs-ganesha promises: names and attributes may be lost with the power.
      const relaxed = await startManagerProcess(join(folder, "relaxed"), tree.image, 0, "async");
      await measureFiles("nfs.small-files.async", relaxed).finally(() => relaxed.stop());
      const times = await work(ours, archive, folder);
      const peerTimes = await work(peer, archive, folder);
      const line = (name: string, operation: string, amount: number, unit: string) =>
        report({
          name,
          ours: amount / times.get(operation)!,
          peer: amount / peerTimes.get(operation)!,
          unit,
          goal: ">=1",
        });
      line("nfs.kernel.untar", "untar", SMALL_FILES, "files/s");
      line("nfs.kernel.write", "write", LARGE_FILE_MIB, "MiB/s");
    } finally {
      await peer.stop();
    }
  } finally {
    await ours.stop();
  }
}

/** The calls of an untar without the virtual machine, whose own time hides that of the servers. */
async function measureSmallFiles(
  report: (line: Measure) => void,
  name: string,
  program: string,
  ours: NfsServer,
  peer: NfsServer,
): Promise<void> {
  const best = { ours: 0, peer: 0 };
  for (let round = 0; round < SMALL_FILE_ROUNDS; round += 1) {
    for (const [who, server] of [["peer", peer] as const, ["ours", ours] as const]) {
      const place = ["127.0.0.1", `${server.nfsPort}`, `${server.mountPort}`, server.path];
      const [files = 0, , seconds = 1] = await numbersOf(program, [...place, "small", "1", "1", "3"]);
      best[who] = Math.max(best[who], files / seconds);
    }
  }
  report({ name, ...best, unit: "files/s", goal: ">=1" });
}

/** An archive of files of 0 to 4,000 bytes, as sources and configurations are. */
function smallFiles(folder: string): Uint8Array {
  const files = join(folder, "small");
  for (let index = 0; index < SMALL_FILES; index += 1) {
    const parent = join(files, `${Math.floor(index / FILES_PER_FOLDER)}`);
    if (index % FILES_PER_FOLDER === 0) mkdirSync(parent, { recursive: true });
    writeFileSync(join(parent, `${index}`), Buffer.alloc((index * 37) % 4000, `${index} `));
  }
  const archive = join(folder, "small.tar");
  execFileSync("tar", ["-cf", archive, "-C", files, "."]);
  const bytes = readFileSync(archive);
  rmSync(files, { recursive: true });
  rmSync(archive);
  return bytes;
}

/** Seconds of each piece of work, by the clock of the virtual machine. */
async function work(server: NfsServer, archive: Uint8Array, folder: string): Promise<Map<string, number>> {
  const console = await runMission(mkdtempSync(join(folder, "machine-")), {
    port: server.nfsPort,
    mountPort: server.mountPort,
    path: server.path,
    big: archive,
    memoryMiB: 1024,
    timeoutMs: TIMEOUT_MS,
    checks: WORK.map(({ name, command }) => ({ name, command: timed(name, command) })),
  });
  return new Map(
    WORK.map(({ name }) => {
      const seconds = new RegExp(`^seconds of ${name}: ([\\d.]+) ([\\d.]+)$`, "m").exec(console);
      if (seconds === null) throw new Error(`Cannot measure ${name} with the kernel's client:\n${console}`);
      return [name, Number(seconds[2]) - Number(seconds[1])];
    }),
  );
}

function timed(name: string, command: string): string {
  return `read from _ < /proc/uptime; ${command} && read to _ < /proc/uptime && echo "seconds of ${name}: $from $to"`;
}
