/**
 * Cuts the power of a simulated disk under load, at any event of the disk, and compares what a server finds there with
 * what the one before had promised. Everything runs in one process and depends on the seed alone.
 *
 *     node power-cut.js CUTS [SEED] [async]
 */
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import type { NfsService } from "../../src/nfs/server.ts";
import type { Clock, KeyValueStore, Random, TcpConnection } from "../../src/ports.ts";
import { appliedNumber, JournaledStore, replayJournal } from "../../src/system/journaled-store.ts";
import { StoreJournal } from "../../src/system/store-journal.ts";
import { openService } from "./crash-server.ts";
import type { Durability, Lane } from "./lane.ts";
import type { LaneModel } from "./lane-model.ts";
import { checkShared, makeLanes } from "./lanes.ts";
import { NfsClient, type Transport } from "./nfs-client.ts";
import { SeededRandom } from "./seeded-random.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const LANES = 4;
const JOURNAL = "1";
const JOURNAL_BYTES = 5 * 1024;
/** Events of the disk until the power goes. */
const EVENTS_MAX = 150;
/** Of all events, those at which somebody looks what a cut would leave, while work goes on. */
const LOOKS = 0.05;

/** Time goes on with the events of the disk. */
class EventClock {
  readonly #timers = new Set<{ dueMs: number; run: () => void }>();
  #nowMs = 1_800_000_000_000;

  readonly clock: Clock = {
    unixMs: () => this.#nowMs,
    monotonicMs: () => this.#nowMs,
    unixNs: () => BigInt(this.#nowMs) * 1_000_000n,
    after: (delayMs, run) => {
      const timer = { dueMs: this.#nowMs + delayMs, run };
      this.#timers.add(timer);
      return { cancel: () => this.#timers.delete(timer) };
    },
  };

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const timer of this.#timers) {
      if (timer.dueMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}

/** The disk's store behind a journal so small that it is full now and then, and records are too large for it. */
async function openStore(disk: SimulatedDisk, clock: Clock, random: Random): Promise<KeyValueStore> {
  await replayJournal(disk, disk.journalBytes(JOURNAL_BYTES), JOURNAL, JOURNAL);
  const appliedTo = appliedNumber(disk, JOURNAL);
  const journal = new StoreJournal({
    file: disk.journalFile,
    sizeBytes: JOURNAL_BYTES,
    random,
    appliedNumber: appliedTo,
  });
  return new JournaledStore({ store: disk, journal, journalName: JOURNAL, clock, checkRoom: () => {} });
}

/** A server on a disk, and connections to it that end when the power does. */
class PoweredServer {
  readonly disk: SimulatedDisk;
  onEvent: () => void = () => {};
  readonly #service: NfsService;
  readonly #closers: (() => void)[] = [];
  #isOff = false;

  constructor(disk: SimulatedDisk, service: NfsService) {
    this.disk = disk;
    this.#service = service;
  }

  static async start(disk: SimulatedDisk, random: SeededRandom, durability: Durability): Promise<PoweredServer> {
    const clock = new EventClock();
    const bytes = (countBytes: number) => Uint8Array.from({ length: countBytes }, () => random.below(256));
    const keyValueStore = await openStore(disk, clock.clock, { bytes });
    const storage = { keyValueStore, dataFiles: disk, clock: clock.clock, random: { bytes } };
    const server = new PoweredServer(disk, await openService(storage, durability));
    disk.onEvent(() => {
      clock.advance(random.below(100));
      server.onEvent();
    });
    return server;
  }

  connect(firstXid: number): NfsClient {
    const peer = { address: parseIpv4("127.0.0.1"), port: 800 };
    let toServer = (_: Uint8Array) => {};
    let toClient = (_: Uint8Array) => {};
    const connection: TcpConnection = {
      remote: peer,
      localAddress: peer.address,
      pendingBytes: 0,
      write: (bytes) => {
        const sent = bytes.slice();
        if (!this.#isOff) setImmediate(() => toClient(sent));
        return true;
      },
      writeFile: () => {
        throw new Error("files of the simulated disk cannot be sent from");
      },
      onData: (handler) => {
        toServer = handler;
      },
      onDrain: () => {},
      onClose: () => {},
      pause: () => {},
      resume: () => {},
      setReadMinimum: () => {},
      close: () => {
        throw new Error("the server has closed the connection");
      },
    };
    const transport: Transport = {
      send: (bytes) => {
        setImmediate(() => {
          if (!this.#isOff) toServer(bytes);
        });
      },
      onData: (handler) => {
        toClient = handler;
      },
      onClose: (handler) => void this.#closers.push(handler),
      close: () => {},
    };
    this.#service.serveConnection(connection);
    return new NfsClient(transport, firstXid);
  }

  turnOff(): void {
    this.#isOff = true;
    this.disk.turnOff();
    for (const close of this.#closers) close();
  }
}

export interface Outcome {
  cuts: number;
  operations: number;
}

/** A cut that is only looked at: what was left, and what had been promised then. */
interface Look {
  disk: SimulatedDisk;
  promises: (readonly LaneModel[])[];
}

/** Works until the power goes at some event of the disk; what is left then, and what a cut would have left before. */
async function workUntilCut(server: PoweredServer, lanes: readonly Lane[], client: NfsClient, random: SeededRandom) {
  const looks: Look[] = [];
  const failures: unknown[] = [];
  let eventsLeft = random.below(EVENTS_MAX);
  const isOver = new Promise<void>((resolve) => {
    server.onEvent = () => {
      if (eventsLeft-- <= 0) resolve();
      else if (random.chance(LOOKS)) {
        looks.push({ disk: server.disk.cut(random), promises: lanes.map((lane) => lane.promises) });
      }
    };
  });
  const working = lanes.map((lane) => lane.work(client).catch((error: unknown) => failures.push(error)));
  await Promise.race([isOver, ...working]);
  const left = server.disk.cut(random);
  server.turnOff();
  await Promise.all(working);
  if (failures.length > 0) throw failures[0];
  return { left, looks };
}

async function look({ disk, promises }: Look, lanes: readonly Lane[], random: SeededRandom): Promise<void> {
  disk.turnsMax = 0;
  const server = await PoweredServer.start(disk, random, "sync");
  const client = server.connect(0);
  for (const [index, lane] of lanes.entries()) await lane.compare(client, promises[index]!);
  await checkShared(client);
  server.turnOff();
}

/** Throws when a promise was broken. */
export async function run(cutsMin: number, seed: number, durability: Durability = "sync"): Promise<Outcome> {
  const random = new SeededRandom(seed);
  let disk = new SimulatedDisk(random);
  let lanes: Lane[] = [];
  let cuts = 0;
  for (let round = 0; cuts < cutsMin; round += 1) {
    try {
      // Once sync, so that what the lanes begin with is durable.
      const server = await PoweredServer.start(disk, random, round === 0 ? "sync" : durability);
      const client = server.connect(round * 1_000_000);
      if (round === 0) lanes = await makeLanes(client, LANES, seed, durability);
      for (const lane of lanes) await lane.check(client);
      await checkShared(client);
      const { left, looks } = await workUntilCut(server, lanes, client, random);
      for (const one of looks) await look(one, lanes, random);
      disk = left;
      cuts += 1 + looks.length;
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  return { cuts, operations: lanes.reduce((sum, lane) => sum + lane.operations, 0) };
}

async function main(): Promise<void> {
  const words = process.argv.slice(2);
  const durability = words.includes("async") ? "async" : "sync";
  const numbers = words.filter((word) => word !== "async").map(Number);
  const [cuts = 1000, seed = Math.floor(Math.random() * 2 ** 31)] = numbers;
  console.log(`power cut: ${cuts} cuts, ${durability}, seed ${seed}`);
  try {
    const outcome = await run(cuts, seed, durability);
    console.log(`power cut: ${outcome.cuts} cuts, ${outcome.operations} operations answered, none lost`);
  } catch (error) {
    console.error(`power cut: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) await main();
