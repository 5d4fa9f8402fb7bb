/** A simulated cluster for tests: `bramble simulate` as its own process, followed by its JSON lines. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { BootEvent } from "../../src/cluster/event.ts";
import type { ManagerStatusView } from "../../src/manager/status-view.ts";
import type { FleetEvent } from "../../src/simulator/fleet.ts";

export const BRAMBLE = resolve(import.meta.dirname, "../../dist/cli/main.js");

export type SimulationEvent = BootEvent | FleetEvent;

interface Waiter {
  accepts: (event: SimulationEvent) => boolean;
  done: (event: SimulationEvent) => void;
}

export type SimulationSettings = {
  model?: string;
  firmwareOnly?: boolean;
  memoryMiB?: number;
  /** For the node of that name an NVMe disk, `/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_stick1`, that is this file. */
  disk?: { node: string; path: string };
} & (
  | { image: string; nodes: number }
  /** The text of a manifest: its nodes, on its network. */
  | { manifest: string }
);

export class Simulation {
  readonly folder = mkdtempSync(join(tmpdir(), "bramble-test-"));
  readonly events: SimulationEvent[] = [];
  readonly #child: ChildProcess;
  readonly #waiters = new Set<Waiter>();
  #errors = "";

  constructor(settings: SimulationSettings) {
    const { model = "4", firmwareOnly, memoryMiB } = settings;
    const manifestPath = join(this.folder, "bramble.yaml");
    if ("manifest" in settings) writeFileSync(manifestPath, settings.manifest);
    const what = "image" in settings ? ["--nodes", String(settings.nodes), "--image", settings.image] : [];
    const memory = memoryMiB === undefined ? [] : ["--memory", String(memoryMiB)];
    const only = firmwareOnly ? ["--firmware-only"] : [];
    const words = ["simulate", ...what, "--model", model, "--json", ...memory, ...only];
    const all = ["--manifest", manifestPath, "--state", this.folder, ...words];
    const env = settings.disk ? withDisk(this.folder, settings.disk) : process.env;
    this.#child = spawn(process.execPath, [BRAMBLE, ...all], { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stderr!.on("data", (bytes: Buffer) => {
      this.#errors += bytes.toString();
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#onLine(line));
  }

  /** The next event that is accepted; rejects with what the consoles said when there is none in time. */
  wait(what: string, accepts: (event: SimulationEvent) => boolean, timeoutMs = 300_000): Promise<SimulationEvent> {
    return new Promise((done, reject) => {
      const finish = (act: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        act();
      };
      const waiter: Waiter = { accepts, done: (event) => finish(() => done(event)) };
      const timer = setTimeout(() => finish(() => reject(new Error(this.#story(what)))), timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  /** When the node reaches `up` next. */
  waitUp(node: string, timeoutMs?: number): Promise<SimulationEvent> {
    const isUp = (event: SimulationEvent) => event.kind === "up" && "node" in event && event.node === node;
    return this.wait(`${node} is up`, isUp, timeoutMs);
  }

  waitLogin(pi: string, timeoutMs?: number): Promise<SimulationEvent> {
    const isPrompt = (event: SimulationEvent) => event.kind === "login-prompt" && event.pi === pi;
    return this.wait(`${pi} shows a login prompt`, isPrompt, timeoutMs);
  }

  /** What a `bramble` command prints; throws with its errors when it fails. */
  bramble(...words: string[]): string {
    const all = [BRAMBLE, "--manifest", join(this.folder, "bramble.yaml"), "--state", this.folder, ...words];
    return execFileSync(process.execPath, all, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 300_000,
    });
  }

  ssh(node: string, command: string): string {
    return this.bramble("ssh", node, "--", command).trimEnd();
  }

  status(): ManagerStatusView {
    return JSON.parse(this.bramble("status", "--json")) as ManagerStatusView;
  }

  /** Kills the manager's process as a crash would; the simulation starts it again. */
  killManager(): void {
    for (const pid of this.#managers()) process.kill(pid, "SIGKILL");
  }

  /** Nothing is answered, and no connection is closed, until the returned function is called: what makes a client hang. */
  suspendManager(): () => void {
    this.#signalManagerAndWorkers("SIGSTOP");
    return () => this.#signalManagerAndWorkers("SIGCONT");
  }

  /** Pulls the plug of a running node and puts it back. */
  powerCycle(node: string): void {
    for (const pid of this.#machinesOf(node)) process.kill(pid, "SIGKILL");
  }

  /** A running node does nothing, as if it were gone, until the returned function is called. */
  suspend(node: string): () => void {
    const machines = this.#machinesOf(node);
    for (const pid of machines) process.kill(pid, "SIGSTOP");
    return () => {
      for (const pid of machines) process.kill(pid, "SIGCONT");
    };
  }

  console(node: string): string {
    return readFileSync(join(this.folder, "console", `${node}.log`), "utf8");
  }

  async stop(): Promise<void> {
    // One that is suspended would not stop.
    if (this.#child.exitCode === null && existsSync(join(this.folder, "lab.json")))
      this.#signalManagerAndWorkers("SIGCONT");
    const exited = new Promise((done) => this.#child.once("exit", done));
    if (this.#child.exitCode === null && this.#child.kill("SIGINT")) await exited;
    rmSync(this.folder, { recursive: true, force: true });
  }

  #signalManagerAndWorkers(signal: NodeJS.Signals): void {
    for (const pid of this.#managers()) for (const each of [pid, ...childrenOf(pid)]) process.kill(each, signal);
  }

  #machinesOf(node: string): number[] {
    return childrenOf(this.#lab()).filter((pid) => commandLine(pid).includes(`\0-name\0${node}\0`));
  }

  #managers(): number[] {
    return childrenOf(this.#lab()).filter((pid) => commandLine(pid).includes("\0up\0"));
  }

  #lab(): number {
    return (JSON.parse(readFileSync(join(this.folder, "lab.json"), "utf8")) as { pid: number }).pid;
  }

  #onLine(line: string): void {
    const event = JSON.parse(line) as SimulationEvent;
    this.events.push(event);
    for (const waiter of [...this.#waiters]) if (waiter.accepts(event)) waiter.done(event);
  }

  #story(what: string): string {
    const last = this.events.slice(-25).map((event) => JSON.stringify(event).slice(0, 200));
    return [`Not seen in time: ${what}`, ...last, this.#errors.slice(-2000)].join("\n");
  }
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

function commandLine(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8");
}

/** Virtual Pis have no disks: here QEMU is started by a script that puts one into a node's. */
function withDisk(folder: string, { node, path }: { node: string; path: string }): NodeJS.ProcessEnv {
  const programs = join(folder, "programs");
  const program = "qemu-system-aarch64";
  const real = execFileSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" }).trim();
  const disk = `-drive file='${path}',format=raw,if=none,id=disk,discard=unmap -device nvme,serial=stick1,drive=disk`;
  const script = `#!/bin/sh
case " $* " in *" -name ${node} "*) set -- "$@" ${disk} ;; esac
exec ${real} "$@"
`;
  mkdirSync(programs);
  writeFileSync(join(programs, program), script, { mode: 0o755 });
  return { ...process.env, PATH: `${programs}:${process.env.PATH}` };
}
