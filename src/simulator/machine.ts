/**
 * From firmware to kernel: the fetched kernel, initramfs and command line on an emulated arm64 machine.
 *
 * The machine is QEMU's `virt`, not a Pi: it has a Cortex-A72, a PL011 serial port and a virtio network card, and its
 * own device tree; the fetched one is only checked to be there. All else, the kernel above all, is what a Pi would run.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { readKernelImage } from "../pi/kernel-config.ts";
import type { MachineSettings } from "../ports.ts";
import type { BootedFirmware } from "./eeprom-firmware.ts";
import { FirmwareFailure } from "./firmware-events.ts";
import type { VirtualBoard } from "./models.ts";

const MACHINE_UART = "ttyAMA0";
/** What config and boards call the serial console: the alias the firmware translates, and the ports of real Pis. */
const PI_UARTS = /^console=(?:serial0|serial1|ttyS0|ttyAMA0|ttyAMA10)(?=,|$)/;

/**
 * The kernel's command line as the firmware hands it over: its own words first (those of a Pi 4 that concern neither
 * display nor memory layout), then cmdline.txt with the serial console's real name.
 */
export function machineCommandLine(commandLine: string, board: VirtualBoard): string {
  const own = [
    "coherent_pool=1M",
    "8250.nr_uarts=1",
    "cgroup_disable=memory",
    `smsc95xx.macaddr=${board.mac.toUpperCase()}`,
  ];
  const words = commandLine.split(" ").map((word) => word.replace(PI_UARTS, `console=${MACHINE_UART}`));
  return [...own, ...words].filter((word) => word !== "").join(" ");
}

/** Throws `FirmwareFailure` for a kernel that a 64-bit machine cannot start. */
export function machineSettings(
  name: string,
  tapName: string,
  board: VirtualBoard,
  booted: BootedFirmware,
  memoryMiB: number,
): MachineSettings {
  checkKernel(booted);
  return {
    name,
    mac: board.mac,
    tapName,
    kernel: booted.kernel.bytes,
    ...(booted.initramfs && { initramfs: booted.initramfs }),
    commandLine: machineCommandLine(booted.commandLine, board),
    memoryMiB,
  };
}

function checkKernel(booted: BootedFirmware): void {
  const { path, bytes } = booted.kernel;
  const unusable = (why: string) => new FirmwareFailure("kernel-unusable", `Cannot start the kernel ${path}: ${why}`);
  try {
    const { bits } = readKernelImage(bytes);
    if (bits !== 64)
      throw unusable(`it is ${bits === 32 ? "a 32-bit one" : "no arm64 Image"}; the virtual Pi is 64-bit`);
  } catch (error) {
    throw error instanceof DecodeError ? unusable(error.why) : error;
  }
}
