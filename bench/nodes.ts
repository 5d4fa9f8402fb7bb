/**
 * What a node costs before it boots. 1,000 of them are added one after the other as a running manager is asked for it on
 * its socket: an answer means that the manifest's file has the node and that the manager serves it. Compared with the
 * limits that were promised, as nothing else keeps nodes this way. Then whole commands, with most of the nodes there, beside
 * a process that does nothing: most of a command is Node's own start.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { promisify } from "node:util";
import type { Measure } from "./instruments/measure.ts";

const NODES = 1000;
const ADD_MS_MAX = 50;
const ADD_KIB_MAX = 64;
const COMMANDS = 30;

/** As `make build` left it. */
const PROGRAM = resolve("dist/cli/main.js");
const runProgram = promisify(execFile);

export async function run(report: (line: Measure) => void): Promise<void> {
  // On a disk: /tmp may be memory, where nothing has to be flushed.
  mkdirSync(".cache", { recursive: true });
  const folder = resolve(mkdtempSync(join(".cache", "bench-nodes-")));
  try {
    const image = execFileSync(process.execPath, ["tools/demo-image.mjs"], { encoding: "utf8" }).trim();
    const path = join(folder, "bramble.yaml");
    writeFileSync(path, manifestOf(resolve(image)));
    const stopManager = await startManager(path);
    try {
      const emptyKib = diskKib(folder);
      reportTimes(report, "nodes.add", await addNodes(join(folder, "state/manager.sock")), ADD_MS_MAX);
      const kibPerNode = (diskKib(folder) - emptyKib) / NODES;
      report({ name: "nodes.add.disk", ours: kibPerNode, peer: ADD_KIB_MAX, unit: "KiB", goal: "<=1" });
      const { commands, empty } = await runCommands(path);
      const emptyMs = empty.reduce((sum, value) => sum + value, 0) / empty.length;
      reportTimes(report, "nodes.command", commands, emptyMs, "none");
    } finally {
      await stopManager();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function reportTimes(
  report: (line: Measure) => void,
  name: string,
  values: readonly number[],
  peer: number,
  goal = "<=1",
): void {
  const line = (what: string, ours: number) => report({ name: `${name}.${what}`, ours, peer, unit: "ms", goal });
  const sorted = values.toSorted((one, other) => one - other);
  line("mean", values.reduce((sum, value) => sum + value, 0) / values.length);
  line("p99", sorted[Math.floor(values.length * 0.99)]!);
  line("slowest", sorted.at(-1)!);
}

/** A manager that needs no privilege: on loopback, on any free ports. */
function manifestOf(image: string): string {
  return `cluster: bench
image: ${image}
stateDir: state
network:
  address: 127.0.0.1
  dhcp: external
  ports: { tftp: 0, nfs: 0, mount: 0, portmap: 0, netconsole: 0 }
nodes:
  - { name: first, mac: "02:00:00:00:ff:ff" }
`;
}

/** As a process of its own, as users have it. Returns what stops it. */
async function startManager(path: string): Promise<() => Promise<void>> {
  const manager = spawn(process.execPath, [PROGRAM, "--manifest", path, "up"], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  await new Promise<void>((serving, reject) => {
    manager.stderr.on("data", (bytes: Buffer) => {
      said += bytes;
      if (said.includes("serving")) serving();
    });
    manager.once("exit", () => reject(new Error(`The manager ended: ${said}`)));
  });
  return async () => {
    const ended = once(manager, "exit");
    manager.kill("SIGTERM");
    await ended;
  };
}

/** Milliseconds for each node, from the question to the answer. */
async function addNodes(socketPath: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const times: number[] = [];
  for (let index = 0; index < NODES; index += 1) {
    const entry = { name: `node${index}`, mac: macOf(index) };
    const startMs = performance.now();
    await post(agent, socketPath, "/v1/nodes", entry);
    times.push(performance.now() - startMs);
  }
  agent.destroy();
  return times;
}

function post(agent: Agent, socketPath: string, path: string, body: object): Promise<void> {
  return new Promise((done, reject) => {
    const headers = { "content-type": "application/json" };
    const call = request({ agent, socketPath, method: "POST", path, headers }, (response) => {
      let text = "";
      response.on("data", (bytes: Buffer) => {
        text += bytes;
      });
      response.once("end", () => (response.statusCode === 200 ? done() : reject(new Error(text))));
    });
    call.once("error", reject);
    call.end(JSON.stringify(body));
  });
}

/** Milliseconds of whole processes, in turn: `bramble nodes add`, and one that does nothing. */
async function runCommands(path: string): Promise<{ commands: number[]; empty: number[] }> {
  const commands: number[] = [];
  const empty: number[] = [];
  for (let index = NODES; index < NODES + COMMANDS; index += 1) {
    const words = [PROGRAM, "--manifest", path, "nodes", "add", `node${index}`, "--mac", macOf(index)];
    commands.push(await timeOf(words));
    empty.push(await timeOf(["-e", "0"]));
  }
  return { commands, empty };
}

async function timeOf(words: readonly string[]): Promise<number> {
  const startMs = performance.now();
  await runProgram(process.execPath, words);
  return performance.now() - startMs;
}

function macOf(index: number): string {
  return `02:00:00:00:${hexByte(index >> 8)}:${hexByte(index & 0xff)}`;
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** Without the image, whose blocks the file system may give it only some seconds later. */
function diskKib(folder: string): number {
  return Number(execFileSync("du", ["-sk", "--exclude=images", folder], { encoding: "utf8" }).split("\t")[0]);
}
