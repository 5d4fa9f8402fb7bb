/**
 * NFS beside nfs-ganesha, on the same tree in the same run: operations of a load generator, then two things that a Linux
 * client does in a virtual machine. And what was promised without a peer: latency beside a node that writes, memory with a
 * hundred nodes, cost with a thousand. Ours is the built program with a node's tree, its layers and its store on disk.
 *
 * Needs gcc, nfs-ganesha with its VFS back end, rpcbind, QEMU, and root for those two.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { compile, numbersOf } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";
import { measureKernelClient } from "./instruments/nfs-kernel-client.ts";
import { type NfsServer, startGanesha, startManagerProcess } from "./instruments/nfs-servers.ts";
import { type BenchTree, benchTree } from "./instruments/nfs-tree.ts";

const SECONDS = 3;
const ROUNDS = 3;
/** As many as a client opens with `nconnect=4`, and calls in flight on each. */
const CONNECTIONS = 4;
const DEPTH = 16;

/** Operation, what is counted, its unit, and what is asked for. */
const OPERATIONS: [name: string, unit: "op/s" | "MB/s" | "entries/s", goal: string][] = [
  ["mix", "op/s", ">=2"],
  ["getattr", "op/s", ">=1.5"],
  ["lookup", "op/s", ">=1.5"],
  ["access", "op/s", ">=1.5"],
  ["read4k", "op/s", ">=1.5"],
  ["readdirplus", "op/s", ">=1.5"],
  ["walk", "entries/s", ">=1.5"],
  ["read128k", "MB/s", ">=1.5"],
];
const READ_128K_MB_MIN = 800;
const GETATTR_P99_MS_MAX = 5;
const MEMORY_MB_MAX = 200;
const ACTIVE_NODES = 100;
const ALL_NODES = 1000;
/** Files of each node that are asked for when many nodes ask. */
const FILES_PER_NODE = 2000;
const BYTES_PER_MB = 1e6;
/** Our processes return memory when they have been quiet for 5 to 10 s. */
const QUIET_MS = 15_000;
/** USER_HZ, which Linux counts processor time in for programs. */
const TICKS_PER_S = 100;

interface Load {
  operation: string;
  connections?: number;
  depth?: number;
  seconds?: number;
  /** Many nodes at once, or another one than the first. */
  source?: { first: string; nodes: number; files: number; path?: string };
}

interface Loaded {
  count: number;
  bytes: number;
  seconds: number;
  p99Ms: number;
}

type Report = (line: Measure) => void;

export async function run(report: Report): Promise<void> {
  // On a disk: /tmp may be memory, where nothing has to be flushed.
  mkdirSync(".cache", { recursive: true });
  const folder = resolve(mkdtempSync(join(".cache", "bench-nfs-")));
  try {
    const tree = benchTree();
    const program = compile("nfs-load", folder);
    await measureOperations(report, program, tree, folder);
    await measureLatency(report, program, tree, join(folder, "latency"));
    await measureMemory(report, program, tree, join(folder, "memory"));
    await measureScale(report, program, tree, join(folder, "scale"));
    await measureKernelClient(report, program, tree, join(folder, "kernel"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureOperations(report: Report, program: string, tree: BenchTree, folder: string): Promise<void> {
  const ours = await startManagerProcess(join(folder, "manager"), tree.image);
  try {
    const peer = await startGanesha(join(folder, "ganesha"), tree.folder);
    try {
      for (const [operation, unit, goal] of OPERATIONS) {
        let [best, peerBest] = [0, 0];
        const rate = async (server: NfsServer) => {
          const { count, bytes, seconds } = await load(program, server, { operation });
          return (unit === "MB/s" ? bytes / BYTES_PER_MB : count) / seconds;
        };
        // In turns, so that a slow minute of the machine is one of both; the best round is the least disturbed one.
        for (let round = 0; round < ROUNDS; round += 1) {
          peerBest = Math.max(peerBest, await rate(peer));
          best = Math.max(best, await rate(ours));
        }
        report({ name: `nfs.${operation}`, ours: best, peer: peerBest, unit, goal });
        if (operation === "read128k") {
          report({ name: "nfs.read128k.floor", ours: best, peer: READ_128K_MB_MIN, unit, goal: ">=1" });
        }
      }
    } finally {
      await peer.stop();
    }
  } finally {
    await ours.stop();
  }
}

/** GETATTR of one node, while another one writes as fast as it can. */
async function measureLatency(report: Report, program: string, tree: BenchTree, folder: string): Promise<void> {
  const server = await startManagerProcess(folder, tree.image, 1);
  try {
    const second = { first: "127.0.1.1", nodes: 1, files: 0, path: "/bramble/node1/root" };
    const writing = load(program, server, {
      operation: "write",
      connections: 1,
      depth: 8,
      seconds: 10,
      source: second,
    });
    const { p99Ms } = await load(program, server, { operation: "getattr", connections: 1, depth: 4, seconds: 7 });
    await writing;
    report({ name: "nfs.getattr.p99.beside-writer", ours: p99Ms, peer: GETATTR_P99_MS_MAX, unit: "ms", goal: "<=1" });
  } finally {
    await server.stop();
  }
}

/** All files of the tree, read from start to end by each of a hundred nodes; of nfs-ganesha, by as many clients. */
async function measureMemory(report: Report, program: string, tree: BenchTree, folder: string): Promise<void> {
  const usedBy = async (server: NfsServer, path: string) => {
    try {
      const source = { first: "127.0.1.1", nodes: ACTIVE_NODES, files: 0, path };
      await load(program, server, { operation: "through", connections: ACTIVE_NODES, depth: 4, source });
      const memory = (field: string) => server.pids().reduce((sum, pid) => sum + memoryMb(pid, field), 0);
      const used = () => ({ rss: memory("Rss"), pss: memory("Pss") });
      const atOnce = used();
      await delay(QUIET_MS);
      return { ...atOnce, later: used() };
    } finally {
      await server.stop();
    }
  };
  const server = await startManagerProcess(join(folder, "manager"), tree.image, ACTIVE_NODES);
  const ours = await usedBy(server, "/bramble/node%d/root");
  const peer = await usedBy(await startGanesha(join(folder, "ganesha"), tree.folder), "/tree");
  const name = `nfs.memory.${ACTIVE_NODES}-nodes`;
  report({ name: `${name}.rss`, ours: ours.rss, peer: MEMORY_MB_MAX, unit: "MB", goal: "<=1" });
  report({ name: `${name}.pss`, ours: ours.pss, peer: MEMORY_MB_MAX, unit: "MB", goal: "<=1" });
  report({ name: `${name}.rss.quiet`, ours: ours.later.rss, peer: MEMORY_MB_MAX, unit: "MB", goal: "<=1" });
  report({ name: `${name}.pss.quiet`, ours: ours.later.pss, peer: MEMORY_MB_MAX, unit: "MB", goal: "<=1" });
  // Without a goal: its memory is what one program in C takes.
  report({ name: `${name}.rss.beside-peer`, ours: ours.rss, peer: peer.rss, unit: "MB", goal: ">=0" });
}

/** Of each process, memory shared with others whole (Rss) or in parts (Pss). */
function memoryMb(pid: number, field: string): number {
  const kib = new RegExp(`^${field}: +(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
  return (Number(kib) * 1024) / BYTES_PER_MB;
}

/** Processor time for each operation of the mix: of a hundred nodes among a thousand, and of the only one. */
async function measureScale(report: Report, program: string, tree: BenchTree, folder: string): Promise<void> {
  const path = "/bramble/node%d/root";
  const cost = async (allNodes: number, nodes: number) => {
    const server = await startManagerProcess(join(folder, `${allNodes}`), tree.image, allNodes);
    try {
      const source = { first: "127.0.1.1", nodes, files: FILES_PER_NODE, path };
      const timed = async (operation: string) => {
        const beforeS = processorSeconds(server);
        const { count } = await load(program, server, { operation, connections: ACTIVE_NODES, depth: 1, source });
        return { count, tookS: processorSeconds(server) - beforeS };
      };
      await timed("mix");
      // Each load begins with a walk.
      const walk = await timed("walk");
      const mix = await timed("mix");
      return ((mix.tookS - walk.tookS) * 1e6) / mix.count;
    } finally {
      await server.stop();
    }
  };
  const alone = await cost(1, 1);
  const many = await cost(ALL_NODES, ACTIVE_NODES);
  report({ name: `nfs.mix.${ALL_NODES}-nodes`, ours: many, peer: alone, unit: "us/op", goal: "<=1.2" });
}

function processorSeconds(server: NfsServer): number {
  const ticks = server.pids().flatMap((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return [Number(fields[11]), Number(fields[12])];
  });
  return ticks.reduce((sum, count) => sum + count, 0) / TICKS_PER_S;
}

async function load(program: string, server: NfsServer, wanted: Load): Promise<Loaded> {
  const { operation, connections = CONNECTIONS, depth = DEPTH, seconds = SECONDS, source } = wanted;
  const numbers = [connections, depth, seconds].map(String);
  const many = source ? [source.first, `${source.nodes}`, `${source.files}`] : [];
  const place = ["127.0.0.1", `${server.nfsPort}`, `${server.mountPort}`, source?.path ?? server.path];
  const words = [...place, operation, ...numbers, ...many];
  const [count = 0, bytes = 0, tookS = 1, errors = 0, , , p99Us = 0] = await numbersOf(program, words);
  if (errors > 0 || count === 0) throw new Error(`Cannot measure: ${errors} of ${count} calls of ${operation} failed`);
  return { count, bytes, seconds: tookS, p99Ms: p99Us / 1000 };
}
