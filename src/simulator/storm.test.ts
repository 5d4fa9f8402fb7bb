/** Many Pis switched on at once, in simulated time. Loads and rates of real networks are measured by the benches. */
import { describe, expect, it } from "vitest";
import { type BootOutcome, type DhcpMode, NETMASK, SERVER, VirtualNetwork } from "../../test/virtual-network.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import { withFaults } from "./faults/frame-faults.ts";
import { startOtherDhcpServer } from "./faults/other-dhcp-server.ts";
import type { FirmwareSettings } from "./firmware-settings.ts";
import { seededChance } from "./seed.ts";

interface Storm {
  model: string;
  count: number;
  mode?: DhcpMode;
  seed?: number;
  loss?: number;
  /** How far the boards are apart. */
  apartMs?: number;
  settings?: Partial<FirmwareSettings>;
}

async function powerOn(storm: Storm): Promise<BootOutcome[]> {
  const { model, count, mode = "server", seed = 1, loss = 0, apartMs = 0, settings } = storm;
  const network = new VirtualNetwork({ seed });
  const boards = Array.from({ length: count }, (_, index) => network.board(model, index + 1));
  if (mode === "proxy") await network.startRouter();
  await network.serve({ mode, boards });
  const chance = seededChance(seed);
  const { clock } = network;
  const cable = (port: Parameters<typeof withFaults>[0]) =>
    loss === 0 ? port : withFaults(port, [{ name: "loss", probability: loss }], { clock, chance });
  const boots = boards.map(async (board, index) => {
    await network.wait(index * apartMs);
    return network.boot(board, settings, cable);
  });
  return network.run(Promise.all(boots));
}

const failures = (outcomes: readonly BootOutcome[]) => outcomes.flatMap(({ failure }) => failure?.message ?? []);
const addresses = (outcomes: readonly BootOutcome[]) => new Set(outcomes.map(({ booted }) => booted?.ownAddress));

describe("22 Pi 3Bs switched on together", () => {
  it.each<[DhcpMode, number]>([
    ["server", 0],
    ["proxy", 0],
    ["proxy", 7],
  ])("all boot with dhcp: %s, %i ms apart, each with its own address, at their first try", async (mode, apartMs) => {
    const outcomes = await powerOn({ model: "3b", count: 22, mode, apartMs });
    expect(failures(outcomes)).toEqual([]);
    expect(addresses(outcomes).size).toBe(22);
    const tries = outcomes.map(({ events }) => {
      const firstFile = events.findIndex(({ kind }) => kind === "file-loaded");
      return events.slice(0, firstFile).filter((event) => event.kind === "dhcp" && event.message === "DISCOVER").length;
    });
    expect(Math.max(...tries)).toBe(1);
  });
});

it("of 22 Pi 3Bs that a server answers by broadcast none but one has an address of its own", async () => {
  const network = new VirtualNetwork();
  const { clock, lan } = network;
  const boards = Array.from({ length: 22 }, (_, index) => network.board("3b", index + 1));
  const pool = { address: "10.77.0.200" as Ipv4, netmask: NETMASK, firstGiven: "10.77.0.100" as Ipv4 };
  const answers = { answers: "option-66", bootServer: SERVER, broadcasts: true } as const;
  startOtherDhcpServer({ port: lan.plug(), clock, ...pool, ...answers });
  await network.serve({ mode: "none", boards });
  const neighbour = network.host("10.77.0.222" as Ipv4);
  const talk = () => {
    neighbour.sendBroadcast({ sourcePort: 9, port: 9, bytes: new Uint8Array(20) });
    clock.after(400, talk);
  };
  talk();
  const outcomes = await network.run(Promise.all(boards.map((board) => network.boot(board))));
  const taken = outcomes.map(({ events }) => events.find((event) => event.kind === "address")?.address);
  expect(new Set(taken).size).toBe(1);
});

describe("Pi 4s with 2 % loss", () => {
  it.each([1, 2])("all boot, 40 of them, with seed %i", async (seed) => {
    const outcomes = await powerOn({ model: "4", count: 40, seed, loss: 0.02 });
    expect(failures(outcomes)).toEqual([]);
    expect(addresses(outcomes).size).toBe(40);
  });
});

describe("a seed", () => {
  it("makes a run again, event by event and byte by byte, and another seed another one", async () => {
    const run = async (seed: number) => {
      const outcomes = await powerOn({ model: "4", count: 6, seed, loss: 0.05 });
      return outcomes.map(({ events, frames, durationMs }) => ({
        events,
        frames: frames.map((frame) => Buffer.from(frame).toString("hex")),
        durationMs,
      }));
    };
    const first = await run(5);
    expect(await run(5)).toEqual(first);
    expect(await run(6)).not.toEqual(first);
  });
});
