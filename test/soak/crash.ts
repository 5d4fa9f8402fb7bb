/**
 * Kills a server at random moments under load and compares what it has after the restart with what it had promised.
 * SIGKILL takes the process's memory, not the system's: what was not synced stays (a power cut is `power-cut.ts`).
 *
 *     node crash.js ROUNDS [SEED] [async]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Durability, Lane } from "./lane.ts";
import { checkShared, makeLanes } from "./lanes.ts";
import { NfsClient } from "./nfs-client.ts";
import { SeededRandom } from "./seeded-random.ts";

const CONNECTIONS = 3;
const LANES = 12;
/** From the first answer to the kill. */
const LOAD_MS_MAX = 400;
/** Some servers make unstable writes durable by themselves every 50 ms instead of every 5 s. */
const SPEEDS = [1, 1, 100];

interface Server {
  child: ChildProcess;
  port: number;
}

async function start(folder: string, speed: number, durability: Durability): Promise<Server> {
  const program = join(import.meta.dirname, "crash-server.js");
  const child = spawn(process.execPath, [program, folder, String(speed), durability], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout! });
  const line = await Promise.race([
    once(lines, "line").then(([text]) => String(text)),
    once(child, "exit").then(([code]) =>
      Promise.reject(new Error(`the server ended with ${code} before it was ready`)),
    ),
  ]);
  return { child, port: Number(line) };
}

async function kill({ child }: Server): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  const [code] = await ended;
  if (code !== null) throw new Error(`the server had ended by itself, with ${code}`);
}

async function connectAll(port: number): Promise<NfsClient[]> {
  return Promise.all(Array.from({ length: CONNECTIONS }, () => NfsClient.connect(port)));
}

/** Returns how many operations were answered. Throws when the server has broken a promise. */
export async function run(rounds: number, seed: number, folder: string, durability: Durability): Promise<number> {
  const random = new SeededRandom(seed);
  let lanes: Lane[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const server = await start(folder, random.pick(SPEEDS), round === 0 ? "sync" : durability);
    try {
      const clients = await connectAll(server.port);
      if (round === 0) lanes = await makeLanes(clients[0]!, LANES, seed, durability);
      await Promise.all(lanes.map((lane, index) => lane.check(clients[index % CONNECTIONS]!)));
      await checkShared(clients[0]!);
      if (round === rounds) continue;
      const working = Promise.all(lanes.map((lane, index) => lane.work(clients[index % CONNECTIONS]!)));
      const loadMs = random.fraction() * LOAD_MS_MAX;
      await Promise.race([working, new Promise((resolve) => setTimeout(resolve, loadMs))]);
      await kill(server);
      await working;
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed}: ${(error as Error).message}`, { cause: error });
    } finally {
      if (server.child.exitCode === null && server.child.signalCode === null) await kill(server);
    }
  }
  return lanes.reduce((sum, lane) => sum + lane.operations, 0);
}

async function main(): Promise<void> {
  const words = process.argv.slice(2);
  const durability = words.includes("async") ? "async" : "sync";
  const numbers = words.filter((word) => word !== "async").map(Number);
  const [rounds = 25, seed = Math.floor(Math.random() * 2 ** 31)] = numbers;
  const parent = join(process.cwd(), ".cache");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "crash-"));
  console.log(`crash: ${rounds} rounds, ${durability}, seed ${seed}`);
  const beginMs = Date.now();
  try {
    const operations = await run(rounds, seed, folder, durability);
    const seconds = ((Date.now() - beginMs) / 1000).toFixed(0);
    console.log(`crash: ${rounds} kills in ${seconds} s, ${operations} operations answered, none lost`);
    rmSync(folder, { recursive: true });
  } catch (error) {
    console.error(`crash: ${(error as Error).message}\nthe store is kept in ${folder}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) await main();
