import { describe, expect, it } from "vitest";
import { ALL_FILES, askedFor, dhcpMessages, VirtualNetwork } from "../../../test/virtual-network.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { EthernetPort } from "../../ports.ts";
import { encodeUdp, MAC_BROADCAST } from "../frames.ts";
import { seededChance } from "../seed.ts";
import { SimulatedClock } from "../simulated-clock.ts";
import { type FrameFault, withFaults } from "./frame-faults.ts";

/** A port that keeps what is sent, and what reached the handler. */
function faulty(faults: readonly FrameFault[], seed = 1) {
  const clock = new SimulatedClock();
  const sent: [atMs: number, frame: number][] = [];
  const received: [atMs: number, frame: number][] = [];
  let deliver: (frame: Uint8Array) => void = () => {};
  const inner: EthernetPort = {
    send: (frame) => void sent.push([clock.monotonicMs(), frame.length]),
    onFrame(handler) {
      deliver = handler;
    },
    close: () => {},
  };
  const port = withFaults(inner, faults, { clock, chance: seededChance(seed) });
  port.onFrame((frame) => void received.push([clock.monotonicMs(), frame.length]));
  return { clock, port, sent, received, deliver: (frame: Uint8Array) => deliver(frame) };
}

function udp(from: number, to: number, countBytes = 20): Uint8Array {
  const message = {
    sourceMac: MAC_BROADCAST,
    from: { address: "10.0.0.1" as Ipv4, port: from },
    to: { address: "10.0.0.2" as Ipv4, port: to },
    bytes: new Uint8Array(countBytes),
  };
  return encodeUdp(message, MAC_BROADCAST);
}

function tcp(from: number, to: number): Uint8Array {
  const frame = udp(from, to);
  frame[23] = 6;
  return frame;
}

describe("a fault of frames", () => {
  it.each<[FrameFault["name"], FrameFault, number, number]>([
    ["loss", { name: "loss", probability: 0.1 }, 860, 940],
    ["duplication", { name: "duplication", probability: 0.1 }, 1060, 1140],
  ])("%s changes how many frames pass, both ways", async (_, fault, least, most) => {
    const { port, sent, received, deliver } = faulty([fault]);
    for (let count = 0; count < 1000; count++) {
      port.send(udp(1, 2));
      deliver(udp(1, 2));
    }
    for (const passed of [sent, received]) {
      expect(passed.length).toBeGreaterThan(least);
      expect(passed.length).toBeLessThan(most);
    }
  });

  it("reordering lets later frames pass some", async () => {
    const { clock, port, sent } = faulty([{ name: "reordering", probability: 0.2, lateMs: 5 }]);
    for (let size = 0; size < 100; size++) {
      port.send(udp(1, 2, size));
      await clock.runFor(1);
    }
    await clock.runFor(10);
    const sizes = sent.map(([, size]) => size);
    expect(sizes).toHaveLength(100);
    expect(sizes).not.toEqual([...sizes].sort((one, other) => one - other));
  });

  it("delay keeps the order, with jitter it need not", async () => {
    const { clock, port, sent } = faulty([{ name: "delay", delayMs: 7 }]);
    port.send(udp(1, 2, 1));
    port.send(udp(1, 2, 2));
    await clock.runFor(10);
    expect(sent).toEqual([
      [7, 43],
      [7, 44],
    ]);
    const jittery = faulty([{ name: "delay", delayMs: 7, jitterMs: 5 }]);
    for (let count = 0; count < 50; count++) jittery.port.send(udp(1, 2, count));
    await jittery.clock.runFor(20);
    const times = jittery.sent.map(([atMs]) => atMs);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(7);
    expect(Math.max(...times)).toBeLessThan(12);
    expect(new Set(times).size).toBeGreaterThan(40);
  });

  it("spanning-tree keeps a port dead, then lets everything pass", async () => {
    const { clock, port, sent, received, deliver } = faulty([{ name: "spanning-tree", deadMs: 30_000 }]);
    const both = () => {
      port.send(udp(1, 2));
      deliver(udp(1, 2));
    };
    both();
    await clock.runFor(29_999);
    both();
    expect([sent.length, received.length]).toEqual([0, 0]);
    await clock.runFor(1);
    both();
    expect([sent.length, received.length]).toEqual([1, 1]);
  });

  it("small-mtu drops IP packets above it, and nothing else", () => {
    const { port, sent } = faulty([{ name: "small-mtu", mtuBytes: 1400 }]);
    port.send(udp(1, 2, 1400 - 28));
    port.send(udp(1, 2, 1400 - 27));
    port.send(Uint8Array.from({ length: 1500 }, (_, at) => (at === 12 ? 0x88 : at === 13 ? 0xb5 : 0)));
    expect(sent.map(([, size]) => size)).toEqual([1414, 1500]);
  });

  it("firewall drops what is sent to its ports, by protocol", () => {
    const fault = {
      name: "firewall",
      protocol: "udp",
      ports: [
        [69, 69],
        [1024, 65535],
      ],
    } as const;
    const { port, sent, received, deliver } = faulty([fault]);
    for (const frame of [udp(68, 67), udp(40000, 69), udp(40000, 1024), tcp(700, 2049), tcp(700, 69)]) port.send(frame);
    expect(sent).toHaveLength(3);
    deliver(udp(69, 40000));
    expect(received).toHaveLength(1);
  });

  it.each([
    ["slow-tftp", udp(3000, 40084), udp(67, 68)],
    ["slow-nfs", tcp(2049, 700), udp(3000, 40084)],
  ] as const)("%s delays what that server sends, and nothing else", async (name, slow, other) => {
    const { clock, port, sent, received, deliver } = faulty([{ name, delayMs: 300 }]);
    deliver(slow);
    deliver(other);
    port.send(slow);
    expect([sent.length, received.length]).toEqual([1, 1]);
    await clock.runFor(300);
    expect(received).toHaveLength(2);
  });

  it("outage lets nothing pass for a while", async () => {
    const { clock, port, sent } = faulty([{ name: "outage", fromMs: 10, untilMs: 20 }]);
    for (let atMs = 0; atMs < 30; atMs++) {
      port.send(udp(1, 2));
      await clock.runFor(1);
    }
    expect(sent.map(([atMs]) => atMs)).toEqual([
      ...Array(10).keys(),
      ...Array.from({ length: 10 }, (_, at) => at + 20),
    ]);
  });

  it("passes nothing late once the port is closed", async () => {
    const { clock, port, sent } = faulty([{ name: "delay", delayMs: 5 }]);
    port.send(udp(1, 2));
    await port.close();
    await clock.runFor(10);
    expect(sent).toEqual([]);
  });

  it("works in a list, one after another", async () => {
    const faults: FrameFault[] = [
      { name: "duplication", probability: 1 },
      { name: "delay", delayMs: 3 },
      { name: "delay", delayMs: 4 },
    ];
    const { clock, port, sent } = faulty(faults);
    port.send(udp(1, 2));
    await clock.runFor(10);
    expect(sent.map(([atMs]) => atMs)).toEqual([7, 7]);
  });

  it("survives frames that are too short to be any", () => {
    const { port, sent } = faulty([{ name: "firewall", protocol: "udp", ports: [[0, 65535]] }]);
    const whole = udp(1, 2);
    for (let bytes = 0; bytes < 38; bytes++) port.send(whole.subarray(0, bytes));
    expect(sent).toHaveLength(38);
  });
});

/** What a virtual Pi 4 and a virtual 3B make of each fault, with our own services. */
describe("a Pi 4 behind", () => {
  async function bootBehind(faults: readonly FrameFault[], where: "board" | "server" = "board", model = "4") {
    const network = new VirtualNetwork();
    const { clock, lan } = network;
    const wrap = (port: EthernetPort) => withFaults(port, faults, { clock, chance: seededChance(3) });
    const board = network.board(model);
    const files = { ...ALL_FILES, "kernel8.img": new Uint8Array(400_000), "bootcode.bin": new Uint8Array(3000) };
    await network.serve({
      mode: "server",
      boards: [board],
      files,
      ...(where === "server" && { port: wrap(lan.plug()) }),
    });
    return network.run(network.boot(board, {}, where === "board" ? wrap : (port) => port));
  }

  it.each<[string, FrameFault[], "board" | "server"]>([
    ["loss of 2 %", [{ name: "loss", probability: 0.02 }], "board"],
    ["duplication of 20 %", [{ name: "duplication", probability: 0.2 }], "board"],
    ["reordering of 20 %", [{ name: "reordering", probability: 0.2, lateMs: 3 }], "server"],
    ["a delay of 20 ms with 10 ms of jitter", [{ name: "delay", delayMs: 20, jitterMs: 10 }], "board"],
    ["a switch port that is dead for 20 s", [{ name: "spanning-tree", deadMs: 20_000 }], "board"],
    ["a manager that is away for 20 s in the middle", [{ name: "outage", fromMs: 600, untilMs: 20_600 }], "server"],
    [
      "all of it a little",
      [
        { name: "loss", probability: 0.01 },
        { name: "duplication", probability: 0.05 },
        { name: "reordering", probability: 0.05, lateMs: 2 },
      ],
      "board",
    ],
  ])("%s boots", async (_, faults, where) => {
    const { booted, failure } = await bootBehind(faults, where);
    expect(failure).toBeUndefined();
    expect(booted?.kernel.sizeBytes).toBe(400_000);
  });

  it.each<[string, FrameFault, string, RegExp]>([
    [
      "a small MTU has no file that needs a full frame",
      { name: "small-mtu", mtuBytes: 1400 },
      "file-timeout",
      /start4\.elf/,
    ],
    [
      "a firewall before port 69 gets an address and no file",
      { name: "firewall", protocol: "udp", ports: [[69, 69]] },
      "file-timeout",
      /nothing came/,
    ],
    [
      "a firewall before DHCP gets nothing",
      { name: "firewall", protocol: "udp", ports: [[67, 68]] },
      "no-answer",
      /nobody answers DHCP/,
    ],
    [
      "a TFTP server that takes 200 ms for each block has no kernel in 30 s",
      { name: "slow-tftp", delayMs: 200 },
      "file-timeout",
      /kernel8\.img/,
    ],
  ])("%s", async (_, fault, reason, message) => {
    const { failure } = await bootBehind([fault]);
    expect(failure?.reason).toBe(reason);
    expect(failure?.message).toMatch(message);
  });

  it("a port that is dead for 30 s outlasts a Pi 4's DISCOVERs at 0, 4, 12 and 28 s, and all tries of a 3B", async () => {
    const dead: FrameFault = { name: "spanning-tree", deadMs: 31_000 };
    const of4 = await bootBehind([dead]);
    expect(dhcpMessages(of4.events)).toEqual(["DISCOVER", "DISCOVER", "DISCOVER", "DISCOVER"]);
    expect(of4.failure).toMatchObject({ reason: "no-answer", isFinal: false });
    expect((await bootBehind([dead], "board", "3b")).failure).toMatchObject({ reason: "no-answer", isFinal: true });
  });

  it("a TFTP server that takes 50 ms for each block has a kernel for a 3B, however long that takes", async () => {
    const slow: FrameFault = { name: "slow-tftp", delayMs: 50 };
    const { booted, durationMs } = await bootBehind([slow], "board", "3b+");
    expect(booted?.kernel.sizeBytes).toBe(400_000);
    expect(durationMs).toBeGreaterThan(39_000);
  });

  it("a slow TFTP server leaves a 3B without files that are there", async () => {
    const { events, failure } = await bootBehind([{ name: "slow-tftp", delayMs: 1100 }], "board", "3b+");
    expect(failure).toBeDefined();
    expect(askedFor(events)[0]).toBe("bootcode.bin");
    expect(events).toContainEqual(expect.objectContaining({ kind: "file-missing", message: "no data for 1 s" }));
  });
});
