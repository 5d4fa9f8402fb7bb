/** What is kept of what each node did: its log, and the last packets. */
import { join } from "node:path";
import type { NodeDirectory } from "../boot/node-directory.ts";
import type { BootEvent } from "../cluster/event.ts";
import type { Clock } from "../ports.ts";
import type { CapturedPacketJson } from "./capture/captured-packet.ts";
import { CAPTURE_START, type CaptureCursor, NodeCaptures, type NodeCapturesOptions } from "./capture/node-captures.ts";
import type { Journal } from "./journal.ts";
import { NodeLog } from "./node-log.ts";
import { RequestError } from "./request-error.ts";

export interface NodeRecordsOptions {
  journal: Journal;
  directory: NodeDirectory;
  clock: Clock;
  stateFolder: string;
  ownAddresses: NodeCapturesOptions["ownAddresses"];
  packetsOfWorker: NodeCapturesOptions["ofWorker"];
}

/** How often somebody who follows a capture is told. */
const CAPTURE_INTERVAL_MS = 500;

export class NodeRecords {
  readonly captures: NodeCaptures;
  readonly #directory: NodeDirectory;
  readonly #clock: Clock;
  readonly #log: NodeLog;

  constructor(options: NodeRecordsOptions) {
    const { journal, directory, clock, stateFolder, ownAddresses, packetsOfWorker } = options;
    this.#directory = directory;
    this.#clock = clock;
    this.#log = new NodeLog(journal, join(stateFolder, "console.ndjson"), clock);
    this.captures = new NodeCaptures({ directory, clock, ownAddresses, ofWorker: packetsOfWorker });
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  /** The last `count` events of a node, oldest first. Throws `RequestError` when there is no such node, as the others do. */
  async log(name: string, count = Number.POSITIVE_INFINITY): Promise<BootEvent[]> {
    return lastOf(await this.#log.of(name, this.#macOf(name, "log")), count);
  }

  /** The same, and what happens from then on. `hear` is called first for what is kept. Returns how to stop it. */
  async followLog(
    name: string,
    hear: (event: BootEvent) => void,
    count = Number.POSITIVE_INFINITY,
  ): Promise<() => void> {
    const mac = this.#macOf(name, "log");
    const late: BootEvent[] = [];
    let take: (event: BootEvent) => void = (event) => late.push(event);
    const stop = this.#log.follow(name, mac, (event) => take(event));
    try {
      const kept = await this.#log.of(name, mac);
      for (const event of lastOf(kept, count)) hear(event);
      const last = kept.at(-1)?.sequence ?? 0;
      for (const event of late) if (event.sequence > last) hear(event);
      take = hear;
      return stop;
    } catch (error) {
      stop();
      throw error;
    }
  }

  /**
   * The packets that are kept of a node; with `follow` also those to come, again and again, perhaps none: whoever does not
   * want to hear more has to be asked now and then. Throws `RequestError`.
   */
  capture(name: string, follow: boolean): AsyncGenerator<CapturedPacketJson[]> {
    this.#macOf(name, "packets");
    return this.#capture(name, follow);
  }

  async *#capture(name: string, follow: boolean): AsyncGenerator<CapturedPacketJson[]> {
    let cursor: CaptureCursor = CAPTURE_START;
    do {
      const found = await this.captures.since(name, cursor);
      // Taken out of the manifest meanwhile.
      if (!found) return;
      cursor = found.cursor;
      yield found.packets;
      if (follow) await new Promise<void>((resolve) => void this.#clock.after(CAPTURE_INTERVAL_MS, resolve));
    } while (follow);
  }

  #macOf(name: string, what: string): string | undefined {
    const node = this.#directory.byName(name);
    if (!node) throw unknownNode(name, what);
    return this.#directory.macOf(node);
  }
}

function lastOf<T>(all: readonly T[], count: number): T[] {
  return all.slice(Math.max(0, all.length - count));
}

function unknownNode(name: string, what: string): RequestError {
  return new RequestError(404, `Cannot show the ${what} of ${name}: the manifest has no node of that name`);
}
