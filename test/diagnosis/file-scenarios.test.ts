/** Boards that ask for files and do not get on: virtual Pis with files missing, or a bad cable. */
import { describe } from "vitest";
import type { FrameFault } from "../../src/simulator/faults/frame-faults.ts";
import { ALL_FILES } from "../virtual-network.ts";
import type { Files } from "./diagnosed-network.ts";
import { boot, scenarios } from "./scenario.ts";

const without = (...names: string[]): Files =>
  Object.fromEntries(Object.entries(ALL_FILES).filter(([name]) => !names.includes(name)));

const MIB = 1024 * 1024;
const dead = (fromMs: number): FrameFault => ({ name: "outage", fromMs, untilMs: 1e9 });

describe("a board whose files are missing", () => {
  scenarios([
    boot("prefix-without-slash", {
      firmware: { eeprom: { prefix: { text: "rack1" } } },
      files: {},
      bySeconds: 12,
    }),
    boot("bootcode-missing", { model: "3b+", files: without("bootcode.bin"), bySeconds: 20, forMs: 20_000 }),
    boot("firmware-file-missing", { files: without("start4.elf", "start.elf"), bySeconds: 14 }),
    boot("fixup-missing", { files: without("fixup4.dat"), bySeconds: 14 }),
    boot("device-tree-missing", { files: without("bcm2711-rpi-4-b.dtb"), bySeconds: 14 }),
    boot("kernel-missing", { files: without("kernel8.img"), bySeconds: 14 }),
    boot("kernel-missing", {
      model: "5",
      files: without("kernel_2712.img", "kernel8.img"),
      title: "kernel-missing (5)",
      bySeconds: 15,
    }),
    boot("command-line-missing", { files: without("cmdline.txt"), bySeconds: 14 }),
    boot("initramfs-missing", {
      files: { ...without("initramfs8"), "config.txt": "arm_64bit=1\ninitramfs initramfs8 followkernel\n" },
      bySeconds: 14,
    }),
    boot("config-txt-too-long", {
      files: { ...ALL_FILES, "config.txt": `arm_64bit=1\n${"# \n".repeat(2000)}` },
      bySeconds: 15,
    }),
    boot("boot-file-unreadable", { files: { ...ALL_FILES, "start4.elf": new Error("EIO: i/o error") }, bySeconds: 14 }),
    {
      cause: "firmware-silent",
      bySeconds: 33,
      settings: {},
      async run(network) {
        const pi = network.powerOn();
        await network.untilLoaded("fixup4.dat");
        pi.powerOff();
        await network.pass(60_000);
      },
    },
  ]);
});

const BIG: Files = { ...ALL_FILES, "kernel8.img": new Uint8Array(4 * MIB) };

describe("a board whose files do not come whole", () => {
  scenarios([
    boot("first-block-unanswered", {
      faults: [{ name: "firewall", protocol: "udp", ports: [[1024, 65_535]] }],
      bySeconds: 30,
      forMs: 60_000,
    }),
    boot("transfer-broke-off", { files: BIG, cable: [dead(1_000)], bySeconds: 28, forMs: 40_000 }),
    boot("file-timeout", { files: BIG, cable: [{ name: "delay", delayMs: 8 }], bySeconds: 65, forMs: 60_000 }),
    boot("packets-lost", { files: BIG, cable: [{ name: "loss", probability: 0.03 }], bySeconds: 60, forMs: 60_000 }),
    boot("transfers-slow", { files: BIG, cable: [{ name: "delay", delayMs: 4 }], bySeconds: 40, forMs: 50_000 }),
  ]);
});
