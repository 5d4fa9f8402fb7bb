/** The simulator's faults on a network of the kernel: in front of a TAP interface, and in the kernel itself. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../../src/bytes/addresses.ts";
import type { EthernetPort } from "../../src/ports.ts";
import { type FrameFault, withFaults } from "../../src/simulator/faults/frame-faults.ts";
import { kernelFaultCommands } from "../../src/simulator/faults/kernel-faults.ts";
import { type OtherServerAnswer, startOtherDhcpServer } from "../../src/simulator/faults/other-dhcp-server.ts";
import { startRelay } from "../../src/simulator/faults/relay.ts";
import { bootOverNetwork } from "../../src/simulator/firmware.ts";
import { type FirmwareEvent, FirmwareFailure } from "../../src/simulator/firmware-events.ts";
import type { FirmwareSettings } from "../../src/simulator/firmware-settings.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { NetworkStack } from "../../src/simulator/network-stack.ts";
import { seededChance, seededRandom } from "../../src/simulator/seed.ts";
import { VirtualLan } from "../../src/simulator/virtual-lan.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { openTap } from "../../src/system/tap.ts";
import { type Dnsmasq, startDnsmasq } from "./dnsmasq.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const POOL = "--dhcp-range=10.77.0.50,10.77.0.99,1h";
const PROXY = "--dhcp-range=10.77.0.0,proxy";
const BOOT_MENU = "--pxe-service=0,Raspberry Pi Boot   ";
const FILES = {
  "start4.elf": new Uint8Array(150_000).fill(4),
  "fixup4.dat": "fixup",
  "config.txt": "arm_64bit=1\n",
  "cmdline.txt": "root=/dev/nfs",
  "bcm2711-rpi-4-b.dtb": "device tree",
  "kernel8.img": new Uint8Array(150_000).fill(8),
  "bootcode.bin": new Uint8Array(52_460).fill(3),
  "start.elf": "firmware",
  "fixup.dat": "fixup",
  "bcm2710-rpi-3-b.dtb": "device tree",
};

const skipped = requireRoot() || requireTools(["ip", "tc", "nft", "dnsmasq"]);

describe.skipIf(skipped)("on a network of the kernel", () => {
  let lab: LabNetwork;
  let folder: string;
  let dnsmasq: Dnsmasq | undefined;
  const undo: (() => unknown)[] = [];

  beforeAll(async () => {
    enterNetworkNamespace();
    lab = await createLabNetwork({ taps: 2 });
    folder = mkdtempSync(join(tmpdir(), "bramble-lab-"));
    for (const [name, content] of Object.entries(FILES)) writeFileSync(join(folder, name), content);
  });
  afterEach(async () => {
    await dnsmasq?.stop();
    dnsmasq = undefined;
    for (const each of undo.splice(0).reverse()) await each();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function boot(
    faults: readonly FrameFault[],
    settings: Partial<FirmwareSettings> = {},
    ranges: readonly string[] = [POOL],
    model = "4",
    cable: EthernetPort = openTap(lab.taps[0]!),
  ) {
    const files = ["--enable-tftp", `--tftp-root=${folder}`];
    dnsmasq = await startDnsmasq(lab.bridge, [...ranges, "--no-ping", BOOT_MENU, ...files]);
    const clock = systemClock;
    const port = withFaults(cable, faults, { clock, chance: seededChance(1) });
    undo.push(() => port.close());
    const events: FirmwareEvent[] = [];
    const report = (event: FirmwareEvent) => void events.push(event);
    const board = makeBoard(findVirtualModel(model)!, {}, seededRandom(1));
    const world = { port, clock, random: seededRandom(1), report };
    const retransmits = () =>
      events.reduce((sum, event) => sum + (event.kind === "file-loaded" ? event.retransmits : 0), 0);
    try {
      const booted = await bootOverNetwork(board, world, { linkUpMs: 300, dhcpTimeoutMs: 6000, ...settings });
      return { booted, events, retransmits };
    } catch (error) {
      if (error instanceof FirmwareFailure) return { failure: error, events, retransmits };
      throw error;
    }
  }

  function inKernel(...faults: FrameFault[]): void {
    const [name] = lab.taps as [string];
    for (const [program, ...words] of kernelFaultCommands(faults, { name, bridge: lab.bridge })) {
      execFileSync(program!, words);
    }
    undo.push(() => {
      const commands = [`tc qdisc del dev ${name} root`, "nft flush ruleset", `ip link set dev ${name} mtu 1500`];
      for (const command of commands) execFileSync("sh", ["-c", `${command} 2>/dev/null || true`]);
      // In this order: with spanning tree on, no bridge takes a delay below two seconds.
      for (const setting of ["stp_state", "forward_delay"]) {
        execFileSync("ip", ["link", "set", "dev", lab.bridge, "type", "bridge", setting, "0"]);
      }
    });
  }

  /** Whether the kernel has that queue; small ones of virtual machines do not. */
  function hasNetem(): boolean {
    const words = `dev ${lab.bridge} root netem loss 1%`;
    try {
      execFileSync("sh", ["-c", `tc qdisc add ${words} && tc qdisc del ${words}`], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }

  function otherServer(answers: OtherServerAnswer): void {
    const port = openTap(lab.taps[1]!);
    const pool = {
      address: "10.77.0.200" as Ipv4,
      netmask: "255.255.255.0" as Ipv4,
      firstGiven: "10.77.0.100" as Ipv4,
    };
    startOtherDhcpServer({ port, clock: systemClock, ...pool, answers });
    undo.push(() => port.close());
  }

  it("a Pi 4 boots from dnsmasq over a cable that loses, doubles and swaps", async () => {
    const { booted, retransmits } = await boot([
      { name: "loss", probability: 0.01 },
      { name: "duplication", probability: 0.05 },
      { name: "reordering", probability: 0.05, lateMs: 2 },
    ]);
    expect(booted?.kernel.sizeBytes).toBe(150_000);
    expect(retransmits()).toBeGreaterThan(0);
  });

  it("a Pi 4 boots through a kernel that loses and delays", async (context) => {
    context.skip(!hasNetem(), "this kernel has no netem");
    inKernel({ name: "loss", probability: 0.01 }, { name: "delay", delayMs: 2 });
    const { booted, events } = await boot([]);
    expect(booted?.kernel.sizeBytes).toBe(150_000);
    // 103 blocks, each at least 2 ms under way.
    const kernel = events.find((event) => event.kind === "file-loaded" && event.path === "kernel8.img");
    expect(kernel).toMatchObject({ durationMs: expect.toSatisfy((durationMs: number) => durationMs > 200) });
  });

  it("a firewall in front of the card and one in the kernel are the same to a Pi", async () => {
    const fault: FrameFault = { name: "firewall", protocol: "udp", ports: [[69, 69]] };
    const settings = { tftpFileTimeoutMs: 1500 };
    expect((await boot([fault], settings)).failure?.reason).toBe("file-timeout");
    for (const each of [...undo.splice(0), () => dnsmasq?.stop()]) await each();
    inKernel(fault);
    expect((await boot([], settings)).failure?.reason).toBe("file-timeout");
  });

  it("spanning tree of a real bridge keeps a port dead for twice its forward delay, longer than one try", async () => {
    inKernel({ name: "spanning-tree", deadMs: 4000 });
    const { failure } = await boot([], { dhcpTimeoutMs: 2000, dhcpRequestTimeoutMs: 500 });
    expect(failure?.reason).toBe("no-answer");
  });

  it("a 3B does not notice dnsmasq's OFFER, unless others talk", async () => {
    const settings = { rom: { tries: 1, tryMs: 2500 } };
    expect((await boot([], settings, [POOL], "3b")).failure?.reason).toBe("offer-not-noticed");
    for (const each of [...undo.splice(0), () => dnsmasq?.stop()]) await each();
    const port = openTap(lab.taps[1]!);
    const neighbour = { mac: parseMac("02:00:00:00:00:09"), clock: systemClock };
    const stack = new NetworkStack({ ...neighbour, transmit: (frame) => port.send(frame) });
    const talking = setInterval(() => stack.sendBroadcast({ sourcePort: 9, port: 9, bytes: new Uint8Array(20) }), 300);
    undo.push(
      () => port.close(),
      () => clearInterval(talking),
    );
    const { booted } = await boot([], settings, [POOL], "3b");
    expect(booted?.kernel.path).toBe("kernel8.img");
  });

  it("beside a server that takes a Pi for a PC, dnsmasq as a proxy boots it", async () => {
    otherServer("x86-bootfile");
    const { booted } = await boot([], {}, [PROXY]);
    expect(booted).toMatchObject({ ownAddress: "10.77.0.100", serverAddress: lab.address });
  });

  it("behind our relay agent a Pi 4 boots from dnsmasq, over a router that Linux answers", async () => {
    const netmask = "255.255.255.0" as Ipv4;
    const [near, here] = ["10.88.0.254" as Ipv4, "10.77.0.253" as Ipv4];
    const far = new VirtualLan(systemClock);
    const servers = { port: openTap(lab.taps[1]!), address: here, netmask };
    const pis = { port: far.plug(), address: near, netmask };
    undo.push(startRelay({ clock: systemClock, pis, servers, dhcpServer: lab.address }));
    execFileSync("ip", ["route", "add", "10.88.0.0/24", "via", here]);
    undo.push(() => execFileSync("ip", ["route", "del", "10.88.0.0/24"]));
    const range = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";
    const settings = { linkUpMs: 500 };
    const { booted } = await boot([], settings, [POOL, range, `--dhcp-option=66,${lab.address}`], "4", far.plug());
    expect(booted).toMatchObject({ ownAddress: expect.stringMatching(/^10\.88\.0\./), serverAddress: lab.address });
    expect(booted?.kernel.sizeBytes).toBe(150_000);
  });

  it("beside that server alone it does not boot", async () => {
    otherServer("next-server");
    const { failure } = await boot([], { dhcpTimeoutMs: 1000 }, ["--dhcp-range=10.99.0.1,10.99.0.2"]);
    expect(failure?.reason).toBe("no-boot-server");
  });
});
