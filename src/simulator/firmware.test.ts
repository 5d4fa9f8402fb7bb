/**
 * The boot loader against the program's own DHCP and TFTP servers, all on one Ethernet in memory and in simulated time.
 * `test/lab` has it boot from dnsmasq, over real sockets.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  askedFor as asked,
  type BootOutcome,
  type DhcpMode,
  dhcpMessages,
  type Files,
  NETMASK,
  ROUTER,
  SERVER,
  VirtualNetwork,
} from "../../test/virtual-network.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";
import { type FrameFault, withFaults } from "./faults/frame-faults.ts";
import { startOtherDhcpServer } from "./faults/other-dhcp-server.ts";
import { seededChance } from "./seed.ts";

const NODE = "10.77.0.11";
const SERIAL = "b0000001";

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
  files?: Files;
  /** How our server answers DHCP. */
  dhcp?: DhcpMode | "none";
  /** Who else does: a router, or a server that names a TFTP server which is not there. */
  beside?: "router" | "wrong-server";
  cable?: { faults: FrameFault[]; seed: number };
}

async function boot({ model = "4", files = PI_4_FILES, dhcp = "server", beside, cable }: Scene): Promise<BootOutcome> {
  const network = new VirtualNetwork();
  const { clock, lan } = network;
  const board = network.board(model);
  if (beside === "router") await network.startRouter();
  if (beside === "wrong-server") {
    const pool = { address: ROUTER, netmask: NETMASK, firstGiven: "10.77.0.50" as Ipv4 };
    const bootServer = "10.77.0.9" as Ipv4;
    startOtherDhcpServer({ port: lan.plug(), clock, ...pool, answers: "option-66", bootServer });
  }
  await network.serve({ mode: dhcp, boards: [board], files });
  const wrap = (port: EthernetPort) => {
    return cable ? withFaults(port, cable.faults, { clock, chance: seededChance(cable.seed) }) : port;
  };
  return network.run(network.boot(board, {}, wrap));
}

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
    const { booted, events } = await boot({ dhcp: "proxy", beside: "router" });
    expect(booted?.ownAddress).toMatch(/^10\.77\.0\.\d+$/);
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
    const { events, durationMs } = await boot({ model: "3b+", files, dhcp: "none" });
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
    ["nobody answers", { dhcp: "none" }, "no-answer", /^Cannot get an address within 45 s: nobody answers DHCP$/],
    ["only a proxy answers", { dhcp: "proxy" }, "no-answer", /nobody gives an address/],
    [
      "only a router answers",
      { dhcp: "none", beside: "router" },
      "no-boot-server",
      /10\.77\.0\.254 offers an address, but nobody sends the boot menu/,
    ],
    ["the boot server is not there", { dhcp: "none", beside: "wrong-server" }, "no-arp-reply", /nobody answers ARP/],
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
    const slow: FrameFault = { name: "delay", delayMs: 100 };
    const { failure } = await boot({
      files: { ...PI_4_FILES, vmlinuz: new Uint8Array(300_000) },
      cable: { faults: [slow], seed: 1 },
    });
    expect(failure?.reason).toBe("file-timeout");
  });

  it("asks again after 4, 8 and 16 seconds and gives up after 45", async () => {
    const { events, durationMs } = await boot({ dhcp: "none" });
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
        const faults: FrameFault[] = [
          { name: "loss", probability: 0.02 },
          { name: "duplication", probability: 0.02 },
          { name: "reordering", probability: 0.02, lateMs: 40 },
        ];
        const { booted } = await boot({ files: { ...PI_4_FILES, vmlinuz: kernel }, cable: { faults, seed } });
        expect(Buffer.from(booted?.kernel.bytes ?? []).equals(Buffer.from(kernel))).toBe(true);
        expect(text(booted?.initramfs)).toBe(PI_4_FILES["initrd.img"]);
      }),
      { numRuns: 20, endOnFailure: true },
    );
  });
});
