/**
 * The virtual Pi on a real network of the kernel: TAP devices, a bridge, dnsmasq as the boot server, QEMU for the kernel.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FleetEvent, startFleet } from "../../src/simulator/fleet.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openConsoleSocket } from "../../src/system/console-socket.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { qemuMachines } from "../../src/system/qemu.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTap } from "../../src/system/tap.ts";
import { demoImage } from "./demo-image.ts";
import { startDnsmasq } from "./dnsmasq.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const SERVER_WORDS = ["--dhcp-range=10.77.0.50,10.77.0.99,1h", "--no-ping", "--enable-tftp"];
const BOOT_MENU = "--pxe-service=0,Raspberry Pi Boot   ";
const QEMU_TIMEOUT_MS = 180_000;

const skipped = requireRoot() || requireTools(["ip", "dnsmasq"]);
const skipQemu =
  skipped || requireTools(["qemu-system-aarch64", "setpriv", "mcopy", "mke2fs", "mkfs.vfat", "dpkg-deb"]);

describe.skipIf(skipped)("a virtual Pi on a network of the kernel", () => {
  let lab: LabNetwork;
  let folder: string;
  let image: string;

  beforeAll(async () => {
    // It may have to be downloaded, and the namespace has no way out.
    if (!skipQemu) image = demoImage();
    enterNetworkNamespace();
    lab = await createLabNetwork({ taps: 3 });
    folder = mkdtempSync(join(tmpdir(), "bramble-lab-"));
  }, QEMU_TIMEOUT_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function bootFirmware(model: "3b+" | "4" | "5", words: readonly string[]): Promise<FleetEvent[]> {
    const dnsmasq = await startDnsmasq(lab.bridge, words);
    const events: FleetEvent[] = [];
    const off = new AbortController();
    const fleet = startFleet({
      pis: [{ name: "node1", board: makeBoard(findVirtualModel(model)!, {}, systemRandom), tapName: lab.taps[0]! }],
      openPort: openTap,
      clock: systemClock,
      random: systemRandom,
      firmware: { linkUpMs: 10, dhcpTimeoutMs: 6000 },
      signal: off.signal,
      onEvent(event) {
        events.push(event);
        if (event.kind === "firmware-failed") off.abort();
      },
    });
    try {
      await fleet.finished;
    } finally {
      await dnsmasq.stop();
    }
    return events;
  }

  function tftpRoot(files: Record<string, string | Uint8Array>): string {
    const root = mkdtempSync(join(folder, "tftp-"));
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(root, path, ".."), { recursive: true });
      writeFileSync(join(root, path), content);
    }
    return `--tftp-root=${root}`;
  }

  const loaded = (events: FleetEvent[]) =>
    Object.fromEntries(
      events.flatMap((event) => (event.kind === "file-loaded" ? [[event.path, event.sizeBytes]] : [])),
    );

  it("passes frames between two ports of the switch, unchanged, and frees them for others", async () => {
    const [left, right] = [openTap("tap1"), openTap("tap2")];
    const received = new Promise<Uint8Array>((resolve) => {
      right.onFrame((frame) => frame[12] === 0x88 && frame[13] === 0xb5 && resolve(frame));
    });
    const frame = Uint8Array.from([...new Array(6).fill(0xff), 2, 0, 0, 0, 0, 1, 0x88, 0xb5, ...Array(100).keys()]);
    // A port of a bridge needs a moment until it forwards.
    const again = setInterval(() => left.send(frame), 20);
    expect(await received).toEqual(frame);
    clearInterval(again);
    expect(() => openTap("tap1")).toThrow("Cannot open TAP interface tap1: EBUSY, another program has it open");
    await left.close();
    await right.close();
    await openTap("tap1").close();
  });

  it("boots as a Pi 4 from dnsmasq", async () => {
    const files = {
      "start4.elf": new Uint8Array(2_000_000).fill(1),
      "fixup4.dat": "fixup",
      "config.txt": "[pi5]\nkernel=wrong\n[pi4]\nkernel=right\n",
      "cmdline.txt": "root=/dev/nfs",
      "bcm2711-rpi-4-b.dtb": "device tree",
      right: new Uint8Array(1468 * 10),
    };
    const events = await bootFirmware("4", [...SERVER_WORDS, BOOT_MENU, tftpRoot(files)]);
    expect(events.find((event) => event.kind === "address")).toMatchObject({
      tftpServer: "10.77.0.1",
      netmask: "255.255.255.0",
    });
    expect(loaded(events)).toMatchObject({ "start4.elf": 2_000_000, right: 14_680, "cmdline.txt": 13 });
    expect(events.at(-2)?.kind).toBe("firmware-done");
  });

  it("boots as a Pi 5 from dnsmasq", async () => {
    const files = {
      "config.txt": "",
      "bcm2712-rpi-5-b.dtb": "device tree",
      "kernel8.img": "kernel",
      "cmdline.txt": "",
    };
    const events = await bootFirmware("5", [...SERVER_WORDS, BOOT_MENU, tftpRoot(files)]);
    expect(loaded(events)).toMatchObject({ "kernel8.img": 6, "bcm2712-rpi-5-b.dtb": 11 });
  });

  it("boots as a Pi 3B+ from dnsmasq", async () => {
    const files = {
      "bootcode.bin": new Uint8Array(52_460),
      "start.elf": new Uint8Array(1_000_000),
      "fixup.dat": "fixup",
      "config.txt": "arm_64bit=1\n",
      "bcm2710-rpi-3-b-plus.dtb": "device tree",
      "kernel8.img": "kernel",
      "cmdline.txt": "",
    };
    const events = await bootFirmware("3b+", [...SERVER_WORDS, BOOT_MENU, tftpRoot(files)]);
    expect(loaded(events)).toMatchObject({ "bootcode.bin": 52_460, "start.elf": 1_000_000, "kernel8.img": 6 });
  });

  it("finds no boot server in a dnsmasq that only gives addresses", async () => {
    const events = await bootFirmware("4", SERVER_WORDS.slice(0, 2));
    expect(events.find((event) => event.kind === "firmware-failed")).toMatchObject({ reason: "no-boot-server" });
  });

  it.skipIf(skipQemu)(
    "runs the kernel of the demo image, and starts over when it reboots",
    async () => {
      const root = mkdtempSync(join(folder, "boot-"));
      execFileSync("mcopy", ["-n", "-s", "-i", `${image}@@4M`, "::*", root]);
      // Nothing serves this root: the initramfs says so and restarts the machine.
      writeFileSync(join(root, "cmdline.txt"), "console=serial0,115200 root=/dev/nfs ip=dhcp\n");
      const dnsmasq = await startDnsmasq(lab.bridge, [...SERVER_WORDS, BOOT_MENU, `--tftp-root=${root}`]);
      const consoleSocket = await openConsoleSocket(folder, "node1");
      const watched = connect(consoleSocket.socketPath).setEncoding("utf8");
      let seen = "";
      watched.on("data", (text: string) => {
        seen += text;
      });
      const off = new AbortController();
      const kinds: string[] = [];
      const fleet = startFleet({
        pis: [
          {
            name: "node1",
            board: makeBoard(findVirtualModel("4")!, {}, systemRandom),
            tapName: lab.taps[0]!,
            console: consoleSocket,
          },
        ],
        openPort: openTap,
        machines: qemuMachines(1),
        memoryMiB: 512,
        clock: systemClock,
        random: systemRandom,
        signal: off.signal,
        onEvent(event) {
          kinds.push(event.kind);
          if (kinds.filter((kind) => kind === "kernel-started").length === 2) off.abort();
        },
      });
      await fleet.finished;
      consoleSocket.close();
      await dnsmasq.stop();
      expect(
        kinds.filter((kind) => /^(power-on|kernel-start|reboot|firmware-failed|machine-failed)$/.test(kind)),
      ).toEqual(["power-on", "kernel-start", "reboot", "power-on", "kernel-start"]);
      expect(seen).toContain("initramfs: the kernel command line has no nfsroot=; restarting in 10 seconds");
    },
    QEMU_TIMEOUT_MS,
  );
});
