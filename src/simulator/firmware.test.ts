/**
 * The boot loader against the program's own DHCP and TFTP servers, all on one Ethernet in memory and in simulated time.
 * `test/lab` has it boot from dnsmasq, over real sockets.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseMac } from "../bytes/addresses.ts";
import type { DhcpSettings } from "../dhcp/policy.ts";
import { startDhcpServer } from "../dhcp/server.ts";
import type { Random } from "../ports.ts";
import { startTftpServer } from "../tftp/server.ts";
import { type BootedFirmware, bootOverNetwork, type FirmwareSettings } from "./firmware.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import { findVirtualModel, type VirtualBoard } from "./models.ts";
import { NetworkStack } from "./network-stack.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { stackUdpSockets } from "./stack-sockets.ts";
import { type LinkFaults, seededChance, VirtualLan } from "./virtual-lan.ts";

const SERVER = "10.77.0.1" as Ipv4;
const ROUTER = "10.77.0.254" as Ipv4;
const NODE = "10.77.0.11" as Ipv4;
const NETMASK = "255.255.255.0" as Ipv4;
const SERIAL = "91cdf03d";

const PLAIN_SERVER = { mode: "server", subnetMask: NETMASK, routers: [], dnsServers: [], leaseTimeS: 3600 } as const;
const FULL: DhcpSettings = { ...PLAIN_SERVER, serverAddress: SERVER };
const PROXY: DhcpSettings = { mode: "proxy", serverAddress: SERVER };

const PI_4_FILES = {
  "start4.elf": "firmware",
  "fixup4.dat": "fixup",
  "config.txt": "kernel=vmlinuz\ninitramfs initrd.img followkernel\n",
  "cmdline.txt": "console=serial0,115200 root=/dev/nfs\nsecond line",
  "bcm2711-rpi-4-b.dtb": "device tree",
  vmlinuz: "kernel ".repeat(1000),
  "initrd.img": "initramfs ".repeat(1000),
};
const PI_5_FILES = {
  "config.txt": "auto_initramfs=1\n[pi4]\nkernel=wrong.img\n[pi5]\ndtoverlay=nothing\n",
  "cmdline.txt": "root=/dev/nfs",
  "bcm2712-rpi-5-b.dtb": "device tree",
  "kernel_2712.img": "kernel",
  "kernel8.img": "not this one",
  initramfs_2712: "initramfs",
};

interface Scene {
  model?: "3b+" | "4" | "5";
  files?: Record<string, string | Uint8Array>;
  /** Each runs on a host of its own. */
  dhcp?: { host: Ipv4; settings: DhcpSettings; knowsTheNode: boolean }[];
  faults?: LinkFaults;
  settings?: Partial<FirmwareSettings>;
}

interface Outcome {
  booted?: BootedFirmware;
  failure?: FirmwareFailure;
  events: FirmwareEvent[];
  durationMs: number;
}

async function boot(scene: Scene): Promise<Outcome> {
  const clock = new SimulatedClock();
  const lan = new VirtualLan(clock, scene.faults);
  const random = countingRandom();
  const hosts = new Map<Ipv4, NetworkStack>();
  const hostAt = (address: Ipv4) => {
    const stack = hosts.get(address) ?? plugHost(lan, clock, address);
    hosts.set(address, stack);
    return stack;
  };
  const files = scene.files ?? PI_4_FILES;
  await startTftpServer({
    sockets: stackUdpSockets(hostAt(SERVER)),
    clock,
    binding: { address: SERVER, port: 69 },
    observe: () => {},
    handler: { open: ({ path }) => answerFile(files, path) },
  });
  for (const { host, settings, knowsTheNode } of scene.dhcp ?? [{ host: SERVER, settings: FULL, knowsTheNode: true }]) {
    await startDhcpServer({
      sockets: stackUdpSockets(hostAt(host)),
      clock,
      settings,
      policy: {
        classify: () => (knowsTheNode ? { kind: "pi", node: "node1", reservedAddress: NODE } : { kind: "other" }),
        isReserved: () => false,
        isNode: () => true,
      },
      observe: () => {},
    });
  }
  const board: VirtualBoard = {
    model: findVirtualModel(scene.model ?? "4")!,
    mac: parseMac("e4:5f:01:09:02:f7"),
    serial: SERIAL,
  };
  const events: FirmwareEvent[] = [];
  const world = { port: lan.plug(), clock, random, report: (event: FirmwareEvent) => void events.push(event) };
  const startMs = clock.monotonicMs();
  const running = bootOverNetwork(board, world, scene.settings).then(
    (booted) => ({ booted }),
    (error: unknown) => {
      if (error instanceof FirmwareFailure) return { failure: error };
      throw error;
    },
  );
  const result = await clock.runUntilSettled(running);
  return { ...result, events, durationMs: clock.monotonicMs() - startMs };
}

function plugHost(lan: VirtualLan, clock: SimulatedClock, address: Ipv4): NetworkStack {
  const port = lan.plug();
  const mac = `02:00:00:00:00:${Number(address.split(".")[3]).toString(16).padStart(2, "0")}` as Mac;
  const stack = new NetworkStack({ mac, clock, transmit: (frame) => port.send(frame) });
  stack.configure({ address, netmask: NETMASK });
  port.onFrame((frame) => stack.receive(frame));
  return stack;
}

function answerFile(files: Record<string, string | Uint8Array>, path: string) {
  const content = files[path];
  if (content === undefined) return { kind: "missing", reason: "no such file" } as const;
  const bytes = Buffer.from(content);
  const read = (target: Uint8Array, offset: number) => bytes.copy(target, 0, offset);
  return { kind: "file", sizeBytes: bytes.length, read, close: () => {} } as const;
}

function countingRandom(): Random {
  let next = 1;
  return { bytes: (countBytes) => Uint8Array.from({ length: countBytes }, () => next++ & 0xff) };
}

const asked = (events: FirmwareEvent[]) =>
  events.flatMap((event) => (event.kind === "file-probed" ? [`${event.path}?`] : "path" in event ? [event.path] : []));
const dhcpMessages = (events: FirmwareEvent[]) =>
  events.flatMap((event) => (event.kind === "dhcp" ? [event.message] : []));
const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

describe("a Pi 4", () => {
  it("boots from our DHCP and TFTP servers, and asks for the files of the published captures in their order", async () => {
    const { booted, events } = await boot({});
    expect(booted).toMatchObject({
      ownAddress: NODE,
      serverAddress: SERVER,
      commandLine: "console=serial0,115200 root=/dev/nfs",
    });
    expect(text(booted?.kernel.bytes)).toBe(PI_4_FILES.vmlinuz);
    expect(text(booted?.initramfs)).toBe(PI_4_FILES["initrd.img"]);
    expect(dhcpMessages(events)).toEqual(["DISCOVER", "OFFER", "REQUEST", "ACK"]);
    const unprefixed = asked(events);
    expect(unprefixed.slice(0, 9)).toEqual([
      `${SERIAL}/start4.elf?`,
      `${SERIAL}/start.elf?`,
      "config.txt",
      "pieeprom.sig",
      "recover4.elf?",
      "recovery.elf?",
      "start4.elf",
      "fixup4.dat",
      "recovery.elf?",
    ]);
    expect(unprefixed.slice(-9)).toEqual([
      "config.txt",
      "bootcfg.txt",
      "initrd.img",
      "bcm2711-rpi-4-b.dtb",
      "overlays/overlay_map.dtb",
      "cmdline.txt",
      "recovery8.img?",
      "armstub8-gic.bin",
      "vmlinuz",
    ]);
  });

  it("keeps to the folder of its serial number when start4.elf is there", async () => {
    const files = Object.fromEntries(
      Object.entries(PI_4_FILES).map(([path, content]) => [`${SERIAL}/${path}`, content]),
    );
    const { booted, events } = await boot({ files });
    expect(booted?.kernel.path).toBe(`${SERIAL}/vmlinuz`);
    expect(asked(events).every((path) => path.startsWith(`${SERIAL}/`))).toBe(true);
  });

  it("takes the address from the router and the boot server from the proxy", async () => {
    const router = {
      ...PLAIN_SERVER,
      serverAddress: ROUTER,
      routers: [ROUTER],
      range: { first: "10.77.0.50" as Ipv4, last: "10.77.0.60" as Ipv4 },
    };
    const { booted, events } = await boot({
      dhcp: [
        { host: ROUTER, settings: router, knowsTheNode: false },
        { host: SERVER, settings: PROXY, knowsTheNode: true },
      ],
    });
    expect(booted?.ownAddress).toMatch(/^10\.77\.0\.5\d$/);
    expect(booted?.serverAddress).toBe(SERVER);
    expect(dhcpMessages(events)).toEqual(["DISCOVER", "OFFER", "OFFER", "REQUEST", "ACK"]);
  });

  it("logs in the boot loader's words", async () => {
    const { events } = await boot({});
    const lines = events.flatMap((event) => (event.kind === "firmware-log" ? [event.text] : []));
    expect(lines).toContain(`NET ${NODE} ${NETMASK} gw 0.0.0.0 tftp ${SERVER}`);
    expect(lines).toContain(`ARP ${SERVER} 02:00:00:00:00:01`);
    expect(lines.at(-1)).toBe("Stopping network");
  });

  it("reads only the first 4096 bytes of config.txt", async () => {
    const config = `${"#".repeat(4090)}\nkernel=vmlinuz\n`;
    const { failure } = await boot({ files: { ...PI_4_FILES, "config.txt": config } });
    expect(failure?.reason).toBe("kernel-missing");
  });
});

describe("a Pi 5", () => {
  it("needs no start4.elf, and takes what its own section of config.txt says", async () => {
    const { booted, events } = await boot({ model: "5", files: PI_5_FILES });
    expect(booted?.kernel.path).toBe("kernel_2712.img");
    expect(text(booted?.initramfs)).toBe("initramfs");
    expect(asked(events)).not.toContain("start4.elf");
    expect(asked(events)).toContain("overlays/nothing.dtbo");
    expect(asked(events).filter((path) => path === "kernel_2712.img")).toHaveLength(2);
  });
});

describe("a Pi 3B+", () => {
  const files = {
    "bootcode.bin": new Uint8Array(52_460),
    "start.elf": "firmware",
    "fixup.dat": "fixup",
    "config.txt": "arm_64bit=1\n[pi4]\nkernel=wrong\n",
    "cmdline.txt": "root=/dev/nfs",
    "bcm2710-rpi-3-b-plus.dtb": "device tree",
    "kernel8.img": new Uint8Array(5000),
  };

  it("boots in two stages, each asking DHCP, and never sends a REQUEST", async () => {
    const { booted, events } = await boot({ model: "3b+", files });
    expect(booted?.kernel).toMatchObject({ path: "kernel8.img", sizeBytes: 5000 });
    expect(dhcpMessages(events)).toEqual(["DISCOVER", "OFFER", "DISCOVER", "OFFER"]);
    expect(asked(events).slice(0, 3)).toEqual(["bootcode.bin", "bootsig.bin", `${SERIAL}/start.elf?`]);
  });

  it("finds its second stage only without the prefix of its serial number", async () => {
    const prefixed = Object.fromEntries(Object.entries(files).map(([path, content]) => [`${SERIAL}/${path}`, content]));
    expect((await boot({ model: "3b+", files: prefixed })).failure?.message).toMatch(/no bootcode\.bin$/);
    const { booted } = await boot({ model: "3b+", files: { ...prefixed, "bootcode.bin": "second stage" } });
    expect(booted?.kernel.path).toBe(`${SERIAL}/kernel8.img`);
  });

  it("asks five times in 25 seconds, when its port has come up", async () => {
    const { events, durationMs } = await boot({ model: "3b+", dhcp: [] });
    expect(dhcpMessages(events)).toEqual(new Array(5).fill("DISCOVER"));
    expect(durationMs).toBe(30_000);
  });
});

describe("a Pi that cannot boot says why", () => {
  const without = (name: keyof typeof PI_4_FILES) => {
    const { [name]: _, ...rest } = PI_4_FILES;
    return rest;
  };
  it.each<[string, Scene, string, RegExp]>([
    ["nobody answers", { dhcp: [] }, "no-answer", /^Cannot get an address within 45 s: nobody answers DHCP$/],
    [
      "only a proxy answers",
      { dhcp: [{ host: SERVER, settings: PROXY, knowsTheNode: true }] },
      "no-answer",
      /nobody gives an address/,
    ],
    [
      "only a router answers",
      {
        dhcp: [
          {
            host: ROUTER,
            settings: { ...PLAIN_SERVER, serverAddress: ROUTER, range: { first: NODE, last: NODE } },
            knowsTheNode: false,
          },
        ],
      },
      "no-boot-server",
      /10\.77\.0\.254 offers an address, but nobody sends the boot menu/,
    ],
    [
      "the boot server is not there",
      {
        dhcp: [{ host: ROUTER, settings: { ...PLAIN_SERVER, serverAddress: "10.77.0.9" as Ipv4 }, knowsTheNode: true }],
      },
      "no-arp-reply",
      /nobody answers ARP/,
    ],
    [
      "start4.elf is missing",
      { files: without("start4.elf") },
      "firmware-missing",
      /no start4\.elf \(4 short flashes\)/,
    ],
    [
      "the device tree is missing",
      { files: without("bcm2711-rpi-4-b.dtb") },
      "device-tree-missing",
      /no bcm2711-rpi-4-b\.dtb/,
    ],
    ["the kernel is missing", { files: without("vmlinuz") }, "kernel-missing", /no vmlinuz \(7 short flashes\)/],
  ])("when %s", async (_, scene, reason, message) => {
    const { failure } = await boot(scene);
    expect(failure?.reason).toBe(reason);
    expect(failure?.message).toMatch(message);
  });

  it("when a file takes more than 30 seconds", async () => {
    const slow = { loss: 0, duplicate: 0, late: 1, lateMs: 100, chance: seededChance(1) };
    const { failure } = await boot({ files: { ...PI_4_FILES, vmlinuz: new Uint8Array(300_000) }, faults: slow });
    expect(failure?.reason).toBe("file-timeout");
  });

  it("asks again after 4, 8 and 16 seconds and gives up after 45", async () => {
    const { events, durationMs } = await boot({ dhcp: [] });
    expect(dhcpMessages(events)).toEqual(["DISCOVER", "DISCOVER", "DISCOVER", "DISCOVER"]);
    expect(durationMs).toBe(45_500);
  });
});

describe("on a bad cable", () => {
  it("every file arrives whole, whatever is lost, doubled or late", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const chance = seededChance(seed);
        const kernel = Uint8Array.from({ length: 60_000 }, () => Math.floor(chance() * 256));
        const faults = { loss: 0.02, duplicate: 0.02, late: 0.02, lateMs: 40, chance };
        const { booted } = await boot({ files: { ...PI_4_FILES, vmlinuz: kernel }, faults });
        expect(Buffer.from(booted?.kernel.bytes ?? []).equals(Buffer.from(kernel))).toBe(true);
        expect(text(booted?.initramfs)).toBe(PI_4_FILES["initrd.img"]);
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});
