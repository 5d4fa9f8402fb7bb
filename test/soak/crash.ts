/**
 * Kills a server at random moments under load and compares what it has after the restart with what it had promised.
 * SIGKILL takes the process's memory, not the system's: what was not synced stays (a power cut is `power-cut.ts`).
 *
 *     node crash.js ROUNDS [SEED] [FOLDER]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EXPORT_PATH } from "./crash-server.ts";
import { Lane } from "./lane.ts";
import { find, type LaneModel, type ModelFile, NEW_FILE } from "./lane-model.ts";
import { NfsClient } from "./nfs-client.ts";
import { SeededRandom } from "./seeded-random.ts";

const CONNECTIONS = 3;
const LANES_PER_CONNECTION = 4;
/** From the first answer to the kill. */
const LOAD_MS_MAX = 400;
/** Some servers make unstable writes durable by themselves every 50 ms instead of every 5 s. */
const SPEEDS = [1, 1, 100];

interface Server {
  child: ChildProcess;
  port: number;
}

async function start(folder: string, speed: number): Promise<Server> {
  const program = join(import.meta.dirname, "crash-server.js");
  const child = spawn(process.execPath, [program, folder, String(speed)], { stdio: ["ignore", "pipe", "inherit"] });
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

/** Which files there are before anything is written: those of the image. */
async function imageModel(client: NfsClient, image: Uint8Array): Promise<LaneModel> {
  const names = new Map<string, number>();
  const files = new Map<number, ModelFile>();
  for (const [path, { handle, attributes, content }] of await find(client, new Map([["image", image]]), () => true)) {
    names.set(path, -attributes.id);
    files.set(-attributes.id, { ...NEW_FILE, handle, content: { committed: content!, pending: [] } });
  }
  return { names, files };
}

async function makeLanes(client: NfsClient, seed: number): Promise<Lane[]> {
  const root = await client.mount(EXPORT_PATH);
  const shared = await client.lookup(root, "shared");
  const image = await client.lookup(root, "image");
  const lanes: Lane[] = [];
  for (let index = 0; index < CONNECTIONS * LANES_PER_CONNECTION; index += 1) {
    const name = `lane${index}`;
    const directories = new Map([
      ["shared", shared],
      [name, await client.mkdir(root, name)],
    ]);
    let model: LaneModel = { names: new Map(), files: new Map() };
    if (index === 0) {
      directories.set("image", image);
      model = await imageModel(client, image);
    }
    lanes.push(new Lane(name, new SeededRandom(seed * 1000 + index), directories, model));
  }
  return lanes;
}

/** Names and links of the directory in which all lanes work. */
async function checkShared(client: NfsClient): Promise<void> {
  const shared = await client.lookup(await client.mount(EXPORT_PATH), "shared");
  const entries = await client.list(shared);
  const directories = entries.filter(({ attributes }) => attributes.type === 2).length;
  const { linkCount } = await client.getattr(shared);
  if (linkCount !== 2 + directories) throw new Error(`shared has ${linkCount} links and ${directories} directories`);
  if (new Set(entries.map(({ name }) => name)).size !== entries.length) throw new Error("shared lists a name twice");
}

async function connectAll(port: number): Promise<NfsClient[]> {
  return Promise.all(Array.from({ length: CONNECTIONS }, () => NfsClient.connect(port)));
}

/** Returns how many operations were answered. Throws when the server has broken a promise. */
export async function run(rounds: number, seed: number, folder: string): Promise<number> {
  const random = new SeededRandom(seed);
  let lanes: Lane[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const server = await start(folder, random.pick(SPEEDS));
    try {
      const clients = await connectAll(server.port);
      if (round === 0) lanes = await makeLanes(clients[0]!, seed);
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
  const [rounds = 25, seed = Math.floor(Math.random() * 2 ** 31)] = process.argv.slice(2, 4).map(Number);
  const parent = process.argv[4] ?? join(process.cwd(), ".cache");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "crash-"));
  console.log(`crash: ${rounds} rounds, seed ${seed}`);
  const beginMs = Date.now();
  try {
    const operations = await run(rounds, seed, folder);
    const seconds = ((Date.now() - beginMs) / 1000).toFixed(0);
    console.log(`crash: ${rounds} kills in ${seconds} s, ${operations} operations answered, none lost`);
    rmSync(folder, { recursive: true });
  } catch (error) {
    console.error(`crash: ${(error as Error).message}\nthe store is kept in ${folder}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) await main();
