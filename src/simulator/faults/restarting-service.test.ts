import { describe, expect, it } from "vitest";
import { ALL_FILES, type DhcpMode, VirtualNetwork } from "../../../test/virtual-network.ts";
import { SimulatedClock } from "../simulated-clock.ts";
import { startRestartingService } from "./restarting-service.ts";

describe("a manager that restarts", () => {
  const FILES = { ...ALL_FILES, "kernel8.img": new Uint8Array(400_000) };

  async function bootWhileItRestarts(mode: DhcpMode, afterMs: number) {
    const network = new VirtualNetwork();
    const { clock } = network;
    const board = network.board("4");
    if (mode === "proxy") await network.startRouter();
    let starts = 0;
    const start = () => {
      starts++;
      return network.serve({ mode, boards: [board], files: FILES });
    };
    await startRestartingService({ clock, afterMs, awayMs: 6000, start });
    const { off, events } = network.powerOn(board);
    await network.run(off);
    return { starts, kinds: events.map(({ kind }) => kind), atMs: clock.monotonicMs() };
  }

  it.each<[DhcpMode, number]>([
    ["server", 100],
    ["proxy", 100],
    ["server", 540],
    ["proxy", 540],
  ])("does not keep a Pi from booting, with dhcp: %s, %i ms after power-on", async (mode, afterMs) => {
    const { starts, kinds, atMs } = await bootWhileItRestarts(mode, afterMs);
    expect(starts).toBe(2);
    expect(kinds.at(-2)).toBe("firmware-done");
    expect(atMs).toBeGreaterThan(6000);
  });

  it("costs the attempt if it goes in the middle of a file: nobody knows the transfer any more", async () => {
    const { kinds } = await bootWhileItRestarts("server", 540);
    expect(kinds.filter((kind) => kind === "firmware-failed")).toHaveLength(1);
  });
});

it("a service is ended, started again, and ended for good", async () => {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const start = async () => {
    log.push(`start ${clock.monotonicMs()}`);
    return () => void log.push(`end ${clock.monotonicMs()}`);
  };
  const stop = await startRestartingService({ clock, afterMs: 10, awayMs: 5, start });
  await clock.runFor(20);
  await stop();
  expect(log).toEqual(["start 0", "end 10", "start 15", "end 20"]);
});

it("a service that is ended while it is away does not come back", async () => {
  const clock = new SimulatedClock();
  let starts = 0;
  const start = async () => {
    starts++;
    return () => {};
  };
  const stop = await startRestartingService({ clock, afterMs: 10, awayMs: 5, start });
  await clock.runFor(12);
  await stop();
  await clock.runFor(20);
  expect(starts).toBe(1);
});
