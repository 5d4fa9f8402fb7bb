/**
 * After a power cut: 300 virtual Pi 4s that are switched on together load some 25 MB each from one manager, over a link of
 * 1 Gbit/s; the same with 2 % of the frames lost each way; 22 Pi 3Bs with the bugs of their boot ROM; and what the manager
 * uses when nothing happens. The manager is the program of `make build`, in a network namespace of its own; the link is a
 * veth pair with tc's tbf. The Pi 4s are instruments/storm-load.c, which also loses the frames, and ask for what the virtual Pi 4 of the
 * simulator asks for; the 3Bs are the simulator's. STORM_PIS=n: so many Pi 4s. Needs gcc, iproute2, mtools, and root.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { writeManifest } from "../src/cli/simulation-cluster.ts";
import type { FleetEvent } from "../src/simulator/fleet.ts";
import type { FleetReport } from "../src/simulator/fleet-report.ts";
import { LAB_ADDRESS, LAB_BRIDGE } from "../src/system/lab-network.ts";
import { makeSmallImage } from "../test/cli/small-image.ts";
import { kernel } from "../test/plan-images.ts";
import { compile, numbersOf } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";

const PROGRAM = resolve("dist/cli/main.js");
const runProgram = promisify(execFile);

const PI_4S = Number(process.env.STORM_PIS ?? 300);
const PI_3BS = 22;
const LINK_BYTES_PER_S = 1e9 / 8;
/** As the EEPROM's boot loader asks. */
const BLOCK_BYTES = 1468;
const LOSS_PERCENT = 2;
/** Of a network card: some hundred packets wait in it before senders must. */
const QUEUE_BYTES = 2_000_000;
const IDLE_MS = 10_000;
/** After its start a manager collects garbage and trims memory. */
const SETTLE_MS = 20_000;

const MIB = 1024 * 1024;
const BOOT_MIB = 48;
/**
 * Some 25 MB for a Pi 4. The boot loader gives each file 30 s: shared out evenly among 300 boards, 1 Gbit/s carries 12 MB to
 * each of them in that time, so no file is larger.
 */
const BOOT_FILES = {
  "/bootcode.bin": new Uint8Array(52_460).fill(1),
  "/start.elf": new Uint8Array(3 * MIB).fill(2),
  "/fixup.dat": new Uint8Array(7000).fill(3),
  "/start4.elf": new Uint8Array(2.2 * MIB).fill(4),
  "/fixup4.dat": new Uint8Array(5500).fill(5),
  "/config.txt": "arm_64bit=1\nkernel=kernel8.img\ninitramfs initramfs8 followkernel\n",
  "/kernel8.img": Buffer.concat([kernel("6.12.47+rpt-rpi-v8"), Buffer.alloc(10.5 * MIB, 6)]),
  "/initramfs8": Buffer.alloc(10.5 * MIB, 7),
  "/bcm2710-rpi-3-b.dtb": Buffer.alloc(35_000, 8),
  "/bcm2711-rpi-4-b.dtb": Buffer.alloc(56_000, 9),
};

export async function run(report: (line: Measure) => void): Promise<void> {
  mkdirSync(".cache", { recursive: true });
  const folder = resolve(mkdtempSync(join(".cache", "bench-storm-")));
  try {
    const image = join(folder, "storm.img");
    makeSmallImage(image, { boot: BOOT_FILES, bootMiB: BOOT_MIB });
    const script = join(folder, "script");
    writeFileSync(script, await scriptOfPi4(folder, image));
    const load = compile("storm-load", folder);
    await measurePi4s(report, { folder, image, script, load });
    await measurePi3s(report, folder, image);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a virtual Pi 4 asks for, in the words of storm-load. */
async function scriptOfPi4(folder: string, image: string): Promise<string> {
  const words = ["--json", "--state", join(folder, "one"), "simulate", "--image", image, "--nodes", "1"];
  const { stdout } = await runProgram(process.execPath, [PROGRAM, ...words, "--model", "4", "--firmware-only"]);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as FleetEvent);
  const asked = events.flatMap((event) => {
    if (event.kind === "file-probed") return [`probe ${event.path}`];
    return event.kind === "file-loaded" || event.kind === "file-missing" ? [`read ${event.path}`] : [];
  });
  if (!asked.some((line) => line.endsWith("kernel8.img")))
    throw new Error("Cannot measure: a virtual Pi 4 does not boot");
  return `${asked.join("\n").replaceAll("10000001", "%")}\n`;
}

interface Storm {
  folder: string;
  image: string;
  script: string;
  load: string;
}

async function measurePi4s(report: (line: Measure) => void, storm: Storm): Promise<void> {
  const link = new Link();
  try {
    const stateFolder = join(storm.folder, "storm");
    mkdirSync(stateFolder);
    const manifest = writeManifest({ stateFolder, image: storm.image, nodes: PI_4S, models: ["4"] });
    const manager = await startManager(link, manifest, stateFolder);
    try {
      await reportIdle(report, manager.pid!, "idle");
      link.shape();
      const clean = await powerOn(link, storm, 0);
      report({ name: "storm.pi4.failed", ours: clean.failed, peer: PI_4S, unit: "boards", goal: "<=0" });
      const lineSeconds = clean.bytes / LINK_BYTES_PER_S;
      // All for one: boards that are served evenly run out of time together.
      if (clean.booted === 0) throw new Error("Cannot measure: no board booted");
      report({ name: "storm.pi4.total", ours: clean.slowest, peer: lineSeconds, unit: "s", goal: "<=1.15" });
      report({ name: "storm.pi4.p99", ours: clean.p99, peer: clean.p50, unit: "s", goal: "<=1.3" });
      report({ name: "storm.pi4.addresses", ours: clean.lastAddress, peer: 45, unit: "s", goal: "none" });
      report({
        name: "storm.pi4.repeats",
        ours: clean.repeats,
        peer: clean.bytes / BLOCK_BYTES,
        unit: "packets",
        goal: "none",
      });
      const lossy = await powerOn(link, storm, LOSS_PERCENT);
      report({ name: "storm.loss.failed", ours: lossy.failed, peer: PI_4S, unit: "boards", goal: "<=0" });
      report({
        name: "storm.loss.total",
        ours: lossy.slowest,
        peer: lossy.bytes / LINK_BYTES_PER_S,
        unit: "s",
        goal: "none",
      });
      report({ name: "storm.loss.p99", ours: lossy.p99, peer: lossy.p50, unit: "s", goal: "none" });
      await reportIdle(report, manager.pid!, "after");
    } finally {
      const ended = once(manager, "exit");
      manager.kill("SIGTERM");
      await ended;
    }
  } finally {
    link.remove();
  }
}

async function powerOn(link: Link, { script, load }: Storm, lossPercent: number) {
  const [command, words] = link.client(load, [link.clientCard, script, `${PI_4S}`, `${BLOCK_BYTES}`, `${lossPercent}`]);
  const [booted = 0, failed = 0, bytes = 0, repeats = 0, , , p50 = 0, p99 = 0, slowest = 0, lastAddress = 0] =
    await numbersOf(command, words);
  return { booted, failed, bytes, repeats, p50, p99, slowest, lastAddress };
}

async function measurePi3s(report: (line: Measure) => void, folder: string, image: string): Promise<void> {
  const words = ["--json", "--state", join(folder, "3b"), "simulate", "--image", image, "--nodes", `${PI_3BS}`];
  const all = [...words, "--model", "3b", "--report", "--timeout", "300"];
  const { stdout } = await runProgram(process.execPath, [PROGRAM, ...all]).catch(
    (error) => error as { stdout: string },
  );
  const { all: boards } = JSON.parse(stdout) as FleetReport;
  report({ name: "storm.pi3b.booted", ours: boards.booted, peer: PI_3BS, unit: "boards", goal: ">=1" });
  if (boards.p99Ms === undefined) return;
  report({ name: "storm.pi3b.p99", ours: boards.p99Ms / 1000, peer: boards.p50Ms! / 1000, unit: "s", goal: "none" });
}

/** Two machines and a cable: the manager's card is called as the manifest of a simulation calls it. */
class Link {
  readonly clientCard = "eth0";
  readonly #server = `bramble-storm-s${process.pid}`;
  readonly #clients = `bramble-storm-c${process.pid}`;

  constructor() {
    for (const namespace of [this.#server, this.#clients]) ip(`netns add ${namespace}`);
    ip(`link add ${LAB_BRIDGE} netns ${this.#server} type veth peer name ${this.clientCard} netns ${this.#clients}`);
    ip(`-n ${this.#server} addr add ${LAB_ADDRESS}/21 dev ${LAB_BRIDGE}`);
    ip(`-n ${this.#server} link set lo up`);
    ip(`-n ${this.#server} link set ${LAB_BRIDGE} up`);
    ip(`-n ${this.#clients} link set ${this.clientCard} up`);
  }

  server(program: string, words: readonly string[]): [string, string[]] {
    return ["ip", ["netns", "exec", this.#server, program, ...words]];
  }

  client(program: string, words: readonly string[]): [string, string[]] {
    return ["ip", ["netns", "exec", this.#clients, program, ...words]];
  }

  /** 1 Gbit/s each way. */
  shape(): void {
    for (const [namespace, card] of this.#ends()) {
      tc(namespace, `add dev ${card} root handle 1: tbf rate 1gbit burst 64kb limit ${QUEUE_BYTES}`);
    }
  }

  remove(): void {
    for (const namespace of [this.#server, this.#clients]) ip(`netns delete ${namespace}`);
  }

  #ends(): [string, string][] {
    return [
      [this.#server, LAB_BRIDGE],
      [this.#clients, this.clientCard],
    ];
  }
}

function ip(words: string): void {
  execFileSync("ip", words.split(" "));
}

function tc(namespace: string, words: string): void {
  execFileSync("ip", ["netns", "exec", namespace, "tc", "qdisc", ...words.split(" ")]);
}

/** `ip netns exec` becomes the program: its process is the manager's. */
async function startManager(link: Link, manifest: string, stateFolder: string): Promise<ChildProcess> {
  const [command, words] = link.server(process.execPath, [
    PROGRAM,
    ...["--manifest", manifest, "--state", stateFolder, "up"],
  ]);
  const manager = spawn(command, words, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  await new Promise<void>((serving, reject) => {
    manager.stderr!.on("data", (bytes: Buffer) => {
      said += bytes;
      if (said.includes("serving")) serving();
    });
    manager.once("exit", () => reject(new Error(`Cannot measure: the manager ended: ${said}`)));
  });
  return manager;
}

async function reportIdle(report: (line: Measure) => void, manager: number, when: string): Promise<void> {
  await pause(SETTLE_MS);
  const processes = processTree(manager);
  const before = cpuSeconds(processes);
  await pause(IDLE_MS);
  const percent = ((cpuSeconds(processes) - before) / (IDLE_MS / 1000)) * 100;
  const of = (name: string) => processes.reduce((sum, pid) => sum + memoryMb(pid, name), 0);
  report({ name: `storm.${when}.cpu`, ours: percent, peer: 1, unit: "%", goal: when === "idle" ? "<=1" : "none" });
  report({ name: `storm.${when}.rss`, ours: of("Rss"), peer: 120, unit: "MB", goal: when === "idle" ? "<=1" : "none" });
  report({ name: `storm.${when}.pss`, ours: of("Pss"), peer: 120, unit: "MB", goal: "none" });
}

/** A process and all below it. */
function processTree(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(processTree)];
}

/** Of all processes together: user and system time, in ticks of 10 ms. */
function cpuSeconds(processes: readonly number[]): number {
  const ticks = processes.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

function memoryMb(pid: number, name: string): number {
  const [, kib] = new RegExp(`^${name}: +(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")) ?? [];
  return (Number(kib) * 1024) / 1e6;
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolvePause) => setTimeout(resolvePause, delayMs));
}
