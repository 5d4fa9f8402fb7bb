/**
 * The data plane in processes of its own, one for each core. A node is always served by the same one, so that no other
 * process has its files open and every cache is right. One that crashes is started again: its nodes see a pause.
 */
import { existsSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { Clock } from "../../ports.ts";
import { type FileLock, lockFile } from "../../system/file-lock.ts";
import { replayJournals } from "../../system/journal-file.ts";
import type { AcceptedConnection } from "../../system/tcp.ts";
import type { TftpReadRequest } from "../../tftp/handler.ts";
import type { PacketsSince } from "../capture/packet-rings.ts";
import type { DataPlaneObservation, DataPlaneSettings, NodeOpened, NodeOpening, NodeServing } from "./messages.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface WorkerCrash {
  /** From 1. */
  worker: number;
  reason: string;
  /** In a row. */
  crashes: number;
  /** Until it is started again. */
  retryMs: number;
}

export interface WorkersOptions {
  /** Absent: one for each core, 16 at most. */
  count?: number;
  settings: DataPlaneSettings;
  clock: Clock;
  /** Every address that is some node's. */
  owners(): Iterable<readonly [Ipv4, string]>;
  observe(observation: DataPlaneObservation): void;
  onCrash(crash: WorkerCrash): void;
  /** A node's trees are open again after a crash. */
  onReopened(node: string, opened: NodeOpened): void;
}

/** A worker of a manager that was killed ends with it, but not before its disk lets it. */
const OLD_WORKERS_WAIT_MS = 10_000;

/**
 * Resolves when all serve; rejects with what stands in the way, and none runs then. Two processes must never write to the
 * trees of one node, so the workers of an earlier manager are waited for: each has inherited a lock.
 */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const { settings, clock } = options;
  const lock = await lockFile(join(settings.stateFolder, "workers.lock"), OLD_WORKERS_WAIT_MS, clock);
  if (!lock) {
    throw new Error(
      `Cannot start: a worker of an earlier manager still has the files below ${settings.stateFolder}, perhaps because a ` +
        "disk does not answer; start again when it has ended (ps shows it as worker.js)",
    );
  }
  try {
    // Before any runs: a node may be another worker's than it was in an earlier manager.
    await replayJournals(join(settings.stateFolder, "trees"));
  } catch (error) {
    lock.release();
    throw error;
  }
  const workers = new Workers(options, lock);
  await workers.start();
  return workers;
}

const COUNT_MAX = 16;

export class Workers implements NodeServing {
  readonly #workers: WorkerProcess[];
  readonly #lock: FileLock;

  /** Use `startWorkers`. */
  constructor(options: WorkersOptions, lock: FileLock) {
    this.#lock = lock;
    const { count = os.availableParallelism(), settings, owners, onCrash, ...same } = options;
    const entryPath = workerEntry();
    this.#workers = Array.from({ length: Math.max(1, Math.min(count, COUNT_MAX)) }, (_, index) => {
      return new WorkerProcess({
        ...same,
        settings: { ...settings, journalName: String(index + 1) },
        entryPath,
        lockDescriptor: lock.descriptor,
        owners: () => [...owners()].filter(([, node]) => this.#indexOf(node) === index),
        onCrash: (reason, crashes, retryMs) => onCrash({ worker: index + 1, reason, crashes, retryMs }),
      });
    });
  }

  /** For `startWorkers`. */
  async start(): Promise<void> {
    const started = await Promise.allSettled(this.#workers.map((worker) => worker.start()));
    for (const result of started) {
      if (result.status === "fulfilled") continue;
      await this.stop();
      throw result.reason;
    }
  }

  /** The process that serves a node; for those who measure, and for tests. */
  pidOf(node: string): number | undefined {
    return this.#workerOf(node).pid;
  }

  #indexOf(node: string): number {
    return hashOf(node) % this.#workers.length;
  }

  #workerOf(node: string): WorkerProcess {
    return this.#workers[this.#indexOf(node)]!;
  }

  open(opening: NodeOpening): Promise<NodeOpened> {
    return this.#workerOf(opening.node).open(opening);
  }

  release(node: string, { abandon }: { abandon: boolean }): Promise<{ usedBytes: number }> {
    return this.#workerOf(node).release(node, abandon);
  }

  forget(node: string): Promise<void> {
    return this.#workerOf(node).forget(node);
  }

  flush(node: string): Promise<void> {
    return this.#workerOf(node).flush();
  }

  overriddenPaths(node: string): Promise<string[]> {
    return this.#workerOf(node).overriddenPaths(node);
  }

  packetsOf(node: string, addresses: readonly Ipv4[], after: number): Promise<PacketsSince> {
    return this.#workerOf(node).packets(addresses, after);
  }

  /** An address has another owner. Connections from it are closed wherever they are. */
  ownerChanged(address: Ipv4, owner: string | undefined): void {
    const index = owner === undefined ? undefined : this.#indexOf(owner);
    this.#workers.forEach((worker, each) => {
      worker.tell({ kind: "owners", owners: [[address, each === index ? owner : undefined]] });
    });
  }

  serveConnection(node: string, accepted: AcceptedConnection): void {
    this.#workerOf(node).serveConnection(node, accepted);
  }

  serveTftp(node: string, path: string, request: TftpReadRequest): void {
    this.#workerOf(node).tell({ kind: "tftp", node, path, request });
  }

  /** What nodes have written is durable when it resolves. */
  async stop(): Promise<void> {
    const stopped = await Promise.allSettled(this.#workers.map((worker) => worker.stop()));
    this.#lock.release();
    for (const result of stopped) if (result.status === "rejected") throw result.reason;
  }
}

/** FNV-1a over UTF-16 units: the same in every run. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** Compiled beside this file; a checkout that runs from source has it in `dist`. */
function workerEntry(): string {
  const beside = fileURLToPath(new URL("./worker.js", import.meta.url));
  const built = fileURLToPath(new URL("../../../dist/manager/data-plane/worker.js", import.meta.url));
  const path = existsSync(beside) ? beside : built;
  if (!existsSync(path)) throw new Error(`Cannot start the workers: ${path} is missing; run "make build"`);
  return path;
}
