import { beforeEach, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import { INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import { PresenceWatch } from "./presence.ts";

const MAC = parseMac("dc:a6:32:00:00:01");
const NODE1 = parseIpv4("10.0.0.11");
const BEHIND_A_ROUTER = parseIpv4("10.9.0.12");
const ACTIVITY: BootOccurrence = { kind: "root-activity", operations: 1, readBytes: 0, writtenBytes: 0, failures: 0 };
const SHUTDOWN: BootOccurrence = { kind: "shutdown-seen" };

class Bench {
  readonly clock = new MemoryClock();
  readonly startedMs = this.clock.nowMs;
  readonly told: string[] = [];
  readonly asked: string[] = [];
  readonly answering = new Map<Ipv4, Mac>();
  #status = INITIAL_STATUS;
  #listener: (event: BootEvent) => void = () => {};
  #sequence = 0;

  readonly happen = (occurrence: BootOccurrence, node?: string) => {
    const event = {
      ...occurrence,
      sequence: ++this.#sequence,
      unixMs: this.clock.nowMs,
      ...(node && { node }),
    } as BootEvent;
    this.#status = nextStatus(this.#status, event);
    this.#listener(event);
  };

  /** Comes up, with an address of its network. */
  up(node: string, address: Ipv4): void {
    this.happen({ kind: "mount", tree: "root", client: address }, node);
    this.happen({ kind: "up", bootId: "a" }, node);
    this.answering.set(address, MAC);
  }

  watch(): () => void {
    const watch = new PresenceWatch({
      clock: this.clock,
      journal: {
        listen: (listener) => {
          this.#listener = listener;
          return () => {};
        },
      },
      status: () => this.#status,
      nodes: () => [{ name: "node1" }, { name: "node2" }],
      report: (occurrence, node) => {
        this.told.push(`${this.seconds} ${node} ${occurrence.kind}`);
        this.happen(occurrence, node);
      },
      probeFor: (address) =>
        address === BEHIND_A_ROUTER
          ? undefined
          : {
              holderOf: async (address) => {
                this.asked.push(`${this.seconds} ${address}`);
                return this.answering.get(address);
              },
            },
    });
    return watch.start();
  }

  get seconds(): number {
    return (this.clock.nowMs - this.startedMs) / 1000;
  }

  get noAnswerSinceS(): number | undefined {
    const sinceMs = this.#status.nodes.get("node1")?.noAnswerSinceMs;
    return sinceMs === undefined ? undefined : (sinceMs - this.startedMs) / 1000;
  }

  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.clock.pass(1000);
      await new Promise(setImmediate);
    }
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

it("a node that is up and quiet is asked now and then, and that it answers is not told", async () => {
  bench.up("node1", NODE1);
  bench.watch();
  await bench.pass(60);
  expect(bench.asked).toEqual(["20 10.0.0.11", "35 10.0.0.11", "50 10.0.0.11"]);
  expect(bench.told).toEqual([]);
});

it("a node that works is not asked", async () => {
  bench.up("node1", NODE1);
  bench.watch();
  for (let count = 0; count < 6; count++) {
    bench.happen(ACTIVITY, "node1");
    await bench.pass(10);
  }
  expect(bench.asked).toEqual([]);
});

it("a node that does not answer four times is lost since it was heard, and back when it answers", async () => {
  bench.watch();
  bench.up("node1", NODE1);
  await bench.pass(3);
  bench.happen(ACTIVITY, "node1");
  bench.answering.clear();
  await bench.pass(57);
  expect(bench.told).toEqual(["35 node1 no-answer"]);
  expect(bench.noAnswerSinceS).toBe(3);
  bench.answering.set(NODE1, MAC);
  await bench.pass(10);
  expect(bench.told).toEqual(["35 node1 no-answer", "65 node1 answers-again"]);
  expect(bench.noAnswerSinceS).toBeUndefined();
});

it("a node is back, too, when it works again or boots", async () => {
  bench.watch();
  bench.up("node1", NODE1);
  bench.answering.clear();
  await bench.pass(60);
  expect(bench.noAnswerSinceS).toBe(0);
  bench.happen(ACTIVITY, "node1");
  await bench.pass(5);
  expect(bench.noAnswerSinceS).toBeUndefined();
  await bench.pass(55);
  expect(bench.noAnswerSinceS).toBe(60);
  bench.happen({ kind: "dhcp-request", message: "DISCOVER", mac: MAC, vendorClass: "PXEClient" }, "node1");
  await bench.pass(60);
  expect(bench.noAnswerSinceS).toBeUndefined();
  expect(bench.told).toEqual(["30 node1 no-answer", "65 node1 answers-again", "90 node1 no-answer"]);
});

it("three questions without an answer are no alarm", async () => {
  bench.watch();
  bench.up("node1", NODE1);
  bench.answering.clear();
  await bench.pass(29);
  bench.answering.set(NODE1, MAC);
  await bench.pass(60);
  expect(bench.told).toEqual([]);
});

it.each<[string, (bench: Bench) => void]>([
  ["is not up", () => bench.happen({ kind: "mount", tree: "root", client: NODE1 }, "node1")],
  ["said that it shuts down", () => [bench.up("node1", NODE1), bench.happen(SHUTDOWN, "node1")]],
  ["has no address that is known", () => bench.happen({ kind: "up", bootId: "a" }, "node1")],
  ["is behind a router", () => bench.up("node1", BEHIND_A_ROUTER)],
  ["is not in the manifest", () => bench.up("node3", NODE1)],
])("a node that %s is not asked", async (_, prepare) => {
  prepare(bench);
  bench.answering.clear();
  bench.watch();
  await bench.pass(120);
  expect(bench.asked).toEqual([]);
  expect(bench.told).toEqual([]);
});

it("what a manager told before this one is not told again, and is taken back", async () => {
  bench.up("node1", NODE1);
  bench.answering.clear();
  bench.happen({ kind: "no-answer", address: NODE1, sinceMs: bench.startedMs }, "node1");
  bench.watch();
  await bench.pass(120);
  expect(bench.told).toEqual([]);
  bench.answering.set(NODE1, MAC);
  await bench.pass(10);
  expect(bench.told).toEqual(["125 node1 answers-again"]);
});

it("that a node left the cluster does not mean that it answers", async () => {
  bench.watch();
  bench.up("node1", NODE1);
  bench.happen({ kind: "joined", bootId: "a" }, "node1");
  bench.answering.clear();
  await bench.pass(60);
  bench.happen({ kind: "left", reason: "it is down" }, "node1");
  expect(bench.noAnswerSinceS).toBe(0);
});

it("a watch that is stopped asks nobody", async () => {
  bench.up("node1", NODE1);
  const stop = bench.watch();
  await bench.pass(16);
  stop();
  await bench.pass(60);
  expect(bench.asked).toEqual([]);
  expect(bench.clock.timerCount).toBe(0);
});
