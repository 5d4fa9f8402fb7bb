/** What a Linux NFS client in a virtual machine does on a node's tree, and on the same tree served by nfs-ganesha. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runMission } from "../../test/lab/nfs-virtual-machine.ts";
import type { Measure } from "./measure.ts";
import { type NfsServer, startGanesha, startManagerProcess } from "./nfs-servers.ts";
import type { BenchTree } from "./nfs-tree.ts";

const SMALL_FILES = 20_000;
const FILES_PER_FOLDER = 200;
const LARGE_FILE_MIB = 1024;
const TIMEOUT_MS = 900_000;

/** Shell, with what its seconds stand for. Each ends with everything on the server's disk. */
const WORK = [
  { name: "untar", command: "mkdir bench-untar && tar -xf /big -C bench-untar && sync" },
  { name: "write", command: `dd if=/dev/zero of=bench-large bs=1M count=${LARGE_FILE_MIB} conv=fsync 2>/dev/null` },
];

export async function measureKernelClient(
  report: (line: Measure) => void,
  tree: BenchTree,
  folder: string,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const archive = smallFiles(folder);
  const ours = await startManagerProcess(join(folder, "manager"), tree.image);
  let times: Map<string, number>;
  try {
    times = await work(ours, archive, folder);
  } finally {
    await ours.stop();
  }
  const copy = join(folder, "tree");
  execFileSync("cp", ["-a", tree.folder, copy]);
  const peer = await startGanesha(join(folder, "ganesha"), copy);
  let peerTimes: Map<string, number>;
  try {
    peerTimes = await work(peer, archive, folder);
  } finally {
    await peer.stop();
  }
  const line = (name: string, operation: string, amount: number, unit: string) =>
    report({ name, ours: amount / times.get(operation)!, peer: amount / peerTimes.get(operation)!, unit, goal: ">=1" });
  line("nfs.kernel.untar", "untar", SMALL_FILES, "files/s");
  line("nfs.kernel.write", "write", LARGE_FILE_MIB, "MiB/s");
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
