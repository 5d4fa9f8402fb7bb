import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type Ipv4, macToBytes, parseMac } from "../bytes/addresses.ts";
import type { DhcpPolicy } from "../dhcp/policy.ts";
import { startDhcpServer } from "../dhcp/server.ts";
import type { Machine, MachineEnd, MachineSettings, Machines } from "../ports.ts";
import { startTftpServer } from "../tftp/server.ts";
import { startFleet } from "./fleet.ts";
import { machineCommandLine } from "./machine.ts";
import { findVirtualModel, makeBoard } from "./models.ts";
import { NetworkStack } from "./network-stack.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { stackUdpSockets } from "./stack-sockets.ts";
import { VirtualLan } from "./virtual-lan.ts";
import { VirtualPi, type VirtualPiEvent } from "./virtual-pi.ts";

const SERVER = "10.77.0.1" as Ipv4;
const NETMASK = "255.255.255.0" as Ipv4;
const random = { bytes: (countBytes: number) => new Uint8Array(countBytes).fill(7) };
const board = makeBoard(findVirtualModel("4")!, { mac: parseMac("dc:a6:32:70:da:b0"), serial: "91cdf03d" }, random);

function arm64Kernel(): Uint8Array {
  const image = Buffer.alloc(4096);
  image.write("ARM\x64", 0x38, "latin1");
  return gzipSync(image);
}

const BOOT_FILES: Record<string, Uint8Array> = {
  "start4.elf": Buffer.from("firmware"),
  "fixup4.dat": Buffer.from("fixup"),
  "config.txt": Buffer.from(""),
  "cmdline.txt": Buffer.from("console=serial0,115200 console=tty1 root=/dev/nfs\n"),
  "bcm2711-rpi-4-b.dtb": Buffer.from("device tree"),
  "kernel8.img": arm64Kernel(),
};

/** A LAN with our servers on it. */
async function lanWithServers(clock: SimulatedClock, files: Record<string, Uint8Array>): Promise<VirtualLan> {
  const lan = new VirtualLan(clock);
  const port = lan.plug();
  const stack = new NetworkStack({ mac: parseMac("02:00:00:00:00:01"), clock, transmit: (frame) => port.send(frame) });
  stack.configure({ address: SERVER, netmask: NETMASK });
  port.onFrame((frame) => stack.receive(frame));
  const sockets = stackUdpSockets(stack);
  const policy: DhcpPolicy = {
    classify: ({ mac }) => ({
      kind: "pi",
      node: mac,
      reservedAddress: `10.77.0.${100 + (macToBytes(mac)[5]! % 100)}` as Ipv4,
    }),
    isReserved: () => true,
    isNode: () => true,
  };
  const settings = {
    mode: "server",
    serverAddress: SERVER,
    subnetMask: NETMASK,
    routers: [],
    dnsServers: [],
    leaseTimeS: 60,
  } as const;
  await startDhcpServer({ sockets, clock, settings, policy, observe: () => {} });
  const open = ({ path }: { path: string }) => {
    const bytes = files[path];
    if (bytes === undefined) return { kind: "missing", reason: "no such file" } as const;
    const read = (target: Uint8Array, offset: number) => Buffer.from(bytes).copy(target, 0, offset);
    return { kind: "file", sizeBytes: bytes.length, read, close: () => {} } as const;
  };
  await startTftpServer({
    sockets,
    clock,
    binding: { address: SERVER, port: 69 },
    observe: () => {},
    handler: { open },
  });
  return lan;
}

/** Machines that end as told, one after the other; the last one runs until it is stopped. */
class ScriptedMachines implements Machines {
  readonly started: MachineSettings[] = [];
  readonly #ends: MachineEnd[];
  readonly #clock: SimulatedClock;

  constructor(clock: SimulatedClock, ends: MachineEnd[]) {
    this.#clock = clock;
    this.#ends = ends;
  }

  async start(settings: MachineSettings): Promise<Machine> {
    this.started.push(settings);
    const end = this.#ends.shift();
    let stop = () => {};
    const ended = new Promise<MachineEnd>((resolve) => {
      stop = () => resolve({ kind: "stopped" });
      if (end !== undefined) this.#clock.after(60_000, () => resolve(end));
    });
    return {
      onConsole: (handler) => handler(Buffer.from("Linux version 6.1\n")),
      typeOnConsole: () => {},
      stop,
      ended,
    };
  }
}

async function run(
  ends: MachineEnd[] | undefined,
  act: (pi: VirtualPi, clock: SimulatedClock) => void = () => {},
  files = BOOT_FILES,
) {
  const clock = new SimulatedClock();
  const lan = await lanWithServers(clock, files);
  const events: VirtualPiEvent[] = [];
  const machines = ends && new ScriptedMachines(clock, ends);
  const pi = new VirtualPi({
    name: "node1",
    board,
    tapName: "tap0",
    openPort: () => lan.plug(),
    ...(machines && { machines }),
    clock,
    random,
    report: (event) => void events.push(event),
  });
  act(pi, clock);
  await clock.runUntilSettled(pi.run());
  const milestones = events
    .map(({ kind }) => kind)
    .filter((kind) => !/^(firmware-log|dhcp|file-|address|console-line)/.test(kind));
  return { milestones, events, started: machines?.started ?? [] };
}

describe("a virtual Pi", () => {
  it("stops where the kernel would start when it has no machine", async () => {
    const { milestones } = await run(undefined);
    expect(milestones).toEqual(["power-on", "firmware-done", "power-off"]);
  });

  it("hands the fetched kernel, its MAC and its port to the machine", async () => {
    const { started, milestones } = await run([{ kind: "power-off" }]);
    expect(milestones).toEqual(["power-on", "firmware-done", "kernel-start", "kernel-started", "power-off"]);
    expect(started[0]).toMatchObject({ name: "node1", mac: board.mac, tapName: "tap0", memoryMiB: 1024 });
    expect(Buffer.from(started[0]!.kernel).equals(BOOT_FILES["kernel8.img"]!)).toBe(true);
  });

  it("starts its firmware again when the kernel reboots", async () => {
    const { milestones } = await run([{ kind: "reboot" }, { kind: "power-off" }]);
    const boot = ["power-on", "firmware-done", "kernel-start", "kernel-started"];
    expect(milestones).toEqual([...boot, "reboot", ...boot, "power-off"]);
  });

  it.each([
    ["in its firmware", 100],
    ["in its kernel", 30_000],
  ])("loses its power %s, and boots again", async (_, atMs) => {
    const { milestones } = await run([{ kind: "power-off" }, { kind: "power-off" }], (pi, clock) => {
      clock.after(atMs, () => pi.powerCycle());
    });
    expect(milestones.filter((kind) => kind === "power-on")).toHaveLength(2);
    expect(milestones.at(-1)).toBe("power-off");
  });

  it("stays off when it is switched off", async () => {
    const { milestones } = await run([], (pi, clock) => void clock.after(30_000, () => pi.powerOff()));
    expect(milestones).toEqual(["power-on", "firmware-done", "kernel-start", "kernel-started", "power-off"]);
  });

  it("tries again for ever while it cannot boot", async () => {
    const { "kernel8.img": _, ...files } = BOOT_FILES;
    const { milestones } = await run([], (pi, clock) => void clock.after(20_000, () => pi.powerOff()), files);
    expect(milestones.filter((kind) => kind === "firmware-failed").length).toBeGreaterThan(1);
    expect(milestones.at(-1)).toBe("power-off");
  });

  it("does not give a machine what is no 64-bit kernel", async () => {
    const files = { ...BOOT_FILES, "kernel8.img": Buffer.from("not a kernel") };
    const { events, started } = await run([], (pi, clock) => void clock.after(3000, () => pi.powerOff()), files);
    expect(started).toEqual([]);
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: "firmware-failed",
        reason: "kernel-unusable",
        message: expect.stringContaining("kernel8.img"),
      }),
    );
  });
});

describe("a fleet", () => {
  it("tells what happens to which Pi, and ends when the last one is off", async () => {
    const clock = new SimulatedClock();
    const lan = await lanWithServers(clock, BOOT_FILES);
    const seen = new Set<string>();
    const pis = ["a", "b", "c"].map((name) => ({
      name,
      board: makeBoard(findVirtualModel("4")!, {}, random),
      tapName: name,
    }));
    const fleet = startFleet({
      pis: pis.map((pi, index) => ({ ...pi, board: { ...pi.board, mac: parseMac(`dc:a6:32:00:00:0${index}`) } })),
      openPort: () => lan.plug(),
      clock,
      random,
      signal: new AbortController().signal,
      onEvent: (event) => event.kind === "power-off" && seen.add(event.pi),
    });
    await clock.runUntilSettled(fleet.finished);
    expect([...seen].sort()).toEqual(["a", "b", "c"]);
  });
});

describe("the kernel's command line", () => {
  it("gets the words of the device tree, the firmware's own, and the real name of the serial console", () => {
    const ofTree = "coherent_pool=1M 8250.nr_uarts=1 cgroup_disable=memory";
    expect(machineCommandLine("console=serial0,115200 console=tty1 root=/dev/nfs", board, ofTree)).toBe(
      `${ofTree} smsc95xx.macaddr=DC:A6:32:70:DA:B0 console=ttyAMA0,115200 console=tty1 root=/dev/nfs`,
    );
  });

  it.each(["console=ttyS0,115200", "console=serial1", "console=ttyAMA10,115200"])("translates %s", (word) => {
    expect(machineCommandLine(word, board)).toMatch(/ console=ttyAMA0(,115200)?$/);
  });
});
