import { describe, expect, it } from "vitest";
import { MemoryClock, MemorySockets } from "../../test/memory-network.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { CONSOLE_BURST_LINES, CONSOLE_LINES_PER_S } from "../limits.ts";
import { startNetconsole } from "./netconsole.ts";

const PORT = 6666;
const NODE1 = "10.77.0.20" as Ipv4;
const STRANGER = "169.254.1.1" as Ipv4;

type ConsoleLine = BootOccurrence & { kind: "console-line" };

async function listen() {
  const sockets = new MemorySockets();
  const clock = new MemoryClock();
  const owners = new Map<Ipv4, string>([[NODE1, "node1"]]);
  const told: { node: string | undefined; line: ConsoleLine }[] = [];
  let learned = 0;
  const netconsole = await startNetconsole({
    sockets,
    bindings: [{ address: "0.0.0.0" as Ipv4, port: PORT, interfaceName: "eth0" }],
    clock,
    ownerOf: (address) => owners.get(address),
    learnNeighbours: async () => void learned++,
    report: (occurrence, node) => told.push({ node, line: occurrence as ConsoleLine }),
  });
  const send = (text: string, address = NODE1) =>
    sockets.deliver(PORT, Buffer.from(text, "latin1"), { address, port: 6665 });
  const lines = () => told.map(({ node, line }) => `${node}: ${line.text}`);
  return { sockets, clock, owners, told, lines, send, netconsole, learned: () => learned };
}

describe("netconsole", () => {
  it("tells each line of a node", async () => {
    const { send, lines, told } = await listen();
    send("[    0.000000] Booting Linux on physical CPU 0x0\n[    0.0] Linux version 6.6\n");
    expect(lines()).toEqual([
      "node1: [    0.000000] Booting Linux on physical CPU 0x0",
      "node1: [    0.0] Linux version 6.6",
    ]);
    expect(told[0]!.line).toEqual({
      kind: "console-line",
      client: NODE1,
      text: "[    0.000000] Booting Linux on physical CPU 0x0",
    });
  });

  it("shows a line that has no end after half a second, and one that goes on as one", async () => {
    const { send, lines, clock } = await listen();
    send("Stopping ");
    clock.pass(400);
    send("network");
    clock.pass(400);
    expect(lines()).toEqual([]);
    clock.pass(100);
    expect(lines()).toEqual(["node1: Stopping network"]);
  });

  it("shows what has no end when it stops", async () => {
    const { send, lines, netconsole, sockets } = await listen();
    send("half a li");
    netconsole.close();
    expect(lines()).toEqual(["node1: half a li"]);
    expect(sockets.openCount).toBe(0);
  });

  it("does not mix the lines of two senders", async () => {
    const { send, lines, owners } = await listen();
    owners.set("10.77.0.21" as Ipv4, "node2");
    send("one ");
    send("two ", "10.77.0.21" as Ipv4);
    send("of one\n");
    send("of two\n", "10.77.0.21" as Ipv4);
    expect(lines()).toEqual(["node1: one of one", "node2: two of two"]);
  });

  it("asks the kernel who an unknown sender is, and keeps the order of what comes meanwhile", async () => {
    const { send, lines, owners, learned } = await listen();
    send("first\n", STRANGER);
    send("second\n", STRANGER);
    owners.set(STRANGER, "node2");
    await Promise.resolve();
    await Promise.resolve();
    await new Promise(setImmediate);
    send("third\n", STRANGER);
    expect(lines()).toEqual(["node2: first", "node2: second", "node2: third"]);
    expect(learned()).toBe(1);
  });

  it("tells what a stranger prints without a node, and asks the kernel about it no more than every ten seconds", async () => {
    const { send, lines, learned, clock } = await listen();
    for (let second = 0; second < 20; second++) {
      send(`line ${second}\n`, STRANGER);
      await new Promise(setImmediate);
      clock.pass(1000);
    }
    expect(lines()).toHaveLength(20);
    expect(lines()[7]).toBe("undefined: line 7");
    expect(learned()).toBe(2);
  });

  it("takes a kernel's whole log at once, then so many lines a second, and says how many it left out", async () => {
    const { send, told, clock } = await listen();
    for (let line = 0; line < CONSOLE_BURST_LINES + 100; line++) send(`${line}\n`);
    expect(told).toHaveLength(CONSOLE_BURST_LINES);
    clock.pass(2000);
    for (let line = 0; line < 1000; line++) send(`later ${line}\n`);
    expect(told).toHaveLength(CONSOLE_BURST_LINES + 2 * CONSOLE_LINES_PER_S);
    expect(told[CONSOLE_BURST_LINES]!.line).toMatchObject({ text: "later 0", dropped: 100 });
    expect(told[CONSOLE_BURST_LINES + 1]!.line.dropped).toBeUndefined();
  });

  it("takes no more from all strangers together than from one node, and the nodes' share is their own", async () => {
    const { send, told } = await listen();
    for (let line = 0; line < CONSOLE_BURST_LINES + 500; line++) {
      const address = `10.77.1.${line % 100}` as Ipv4;
      send("x\n", address);
      if (line < 100) await new Promise(setImmediate);
    }
    expect(told).toHaveLength(CONSOLE_BURST_LINES);
    send("still heard\n");
    expect(told.at(-1)).toMatchObject({ node: "node1", line: { text: "still heard" } });
  });
});
