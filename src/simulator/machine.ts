/**
 * From firmware to kernel: the fetched kernel, initramfs, device tree and command line on an emulated arm64 machine.
 *
 * For a 3B or 3B+ it is QEMU's `raspi3b`, a Pi 3B by the fetched device tree, but with a network card at its USB port: the
 * board's own is not emulated. For all others it is `virt`, which is no Pi: a Cortex-A72, a PL011 serial port and a virtio
 * network card, with a device tree of its own; the fetched one is only checked to be there. All else, the kernel above all,
 * is what a Pi would run.
 */
import { constants, gunzipSync } from "node:zlib";
import { DecodeError } from "../bytes/decode-error.ts";
import type { MachineSettings } from "../ports.ts";
import { bootArguments } from "./device-tree.ts";
import type { BootedFirmware } from "./firmware.ts";
import { FirmwareFailure } from "./firmware-events.ts";
import type { VirtualBoard } from "./models.ts";

const MACHINE_UART = "ttyAMA0";
/** What config and boards call the serial console: the alias the firmware translates, and the ports of real Pis. */
const PI_UARTS = /^console=(?:serial0|serial1|ttyS0|ttyAMA0|ttyAMA10)(?=,|$)/;

/**
 * The kernel's command line as the firmware hands it over: first the words of the device tree (Raspberry Pi's own trees
 * have some, `cgroup_disable=memory` above all; those of other kernels have none) and the firmware's (of a Pi 4 the one that
 * concerns neither display nor memory layout), then cmdline.txt with the serial console's real name.
 */
export function machineCommandLine(commandLine: string, board: VirtualBoard, treeArguments = ""): string {
  const own = [treeArguments, `smsc95xx.macaddr=${board.mac.toUpperCase()}`];
  const words = commandLine.split(" ").map((word) => word.replace(PI_UARTS, `console=${MACHINE_UART}`));
  return [...own, ...words].filter((word) => word !== "").join(" ");
}

/** The firmware starts the kernel with a tree that it cannot read, too. */
function argumentsOfTree(tree: Uint8Array): string {
  try {
    return bootArguments(tree);
  } catch (error) {
    if (error instanceof DecodeError) return "";
    throw error;
  }
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
    commandLine: machineCommandLine(booted.commandLine, board, argumentsOfTree(booted.deviceTree.bytes)),
    ...(board.model.rom !== undefined && { deviceTree: booted.deviceTree.bytes }),
    memoryMiB,
  };
}

/** Linux "arch/arm64/booting": the magic number in the header of an Image. */
const IMAGE_MAGIC = { at: 0x38, text: "ARM\x64" } as const;
const GZIP_MAGIC = [0x1f, 0x8b];
/** Enough of a compressed kernel to unpack its header. */
const COMPRESSED_HEADER_BYTES = 16 * 1024;

function checkKernel({ kernel: { path, bytes } }: BootedFirmware): void {
  const header = GZIP_MAGIC.every((byte, at) => bytes[at] === byte) ? unpackHeader(bytes) : bytes;
  const magic = Buffer.from(header.subarray(IMAGE_MAGIC.at, IMAGE_MAGIC.at + 4)).toString("latin1");
  if (magic !== IMAGE_MAGIC.text) {
    const why = "it is no arm64 Image (gzip'd or not), and the virtual Pi runs nothing else";
    throw new FirmwareFailure("kernel-unusable", `Cannot start the kernel ${path}: ${why}`);
  }
}

/** Nothing for what only looks like gzip. */
function unpackHeader(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes.subarray(0, COMPRESSED_HEADER_BYTES), { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return new Uint8Array();
  }
}
