/**
 * The boot loader in the EEPROM of the Pi 4 and 5 families, booting over the network, and what it starts.
 *
 * Sources: Raspberry Pi documentation (boot flow, eeprom-bootloader, config.txt), the boot loader's published log
 * strings, and captures of boards. Left out: other boot modes than network, signed boot, boot.img, HTTP, IPv6,
 * and flashing: a served pieeprom.upd is reported, never used.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Clock, EthernetPort, Random } from "../ports.ts";
import { selectBootFiles } from "./boot-selection.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import { BootFiles, type FileTimes, type LoadedFile } from "./firmware-files.ts";
import { bringNetworkUp, type DhcpTimes } from "./firmware-network.ts";
import type { VirtualBoard } from "./models.ts";
import { NetworkStack } from "./network-stack.ts";

export interface FirmwareSettings extends DhcpTimes, FileTimes {
  /** 1468 since 2022-10-03, 1024 before. */
  blockBytes: number;
  /** Since 2025-09-23. */
  rollover: boolean;
  /** How long the switch and the PHY take to agree. Chosen. */
  linkUpMs: number;
  /** Load kernel and initramfs, but keep only their sizes: for fleets that stop before the kernel. */
  discardContents: boolean;
}

/** The boot loader's own defaults (eeprom-bootloader documentation). */
export const FIRMWARE_DEFAULTS: FirmwareSettings = {
  dhcpTimeoutMs: 45_000,
  dhcpRequestTimeoutMs: 4000,
  tftpFileTimeoutMs: 30_000,
  blockBytes: 1468,
  rollover: true,
  linkUpMs: 500,
  discardContents: false,
};

export interface FirmwareWorld {
  port: EthernetPort;
  clock: Clock;
  random: Random;
  report(event: FirmwareEvent): void;
}

/** Everything that is in memory when the kernel starts. */
export interface BootedFirmware {
  ownAddress: Ipv4;
  serverAddress: Ipv4;
  kernel: LoadedFile;
  /** Several are loaded one behind the other, as one. */
  initramfs?: Uint8Array;
  deviceTree: LoadedFile;
  /** The text of cmdline.txt as it was fetched, without the line end. */
  commandLine: string;
  /** Every file that was read, by the path it was asked for. */
  files: ReadonlyMap<string, LoadedFile>;
}

/** One attempt to boot. Throws `FirmwareFailure`. The port stays open. */
export async function bootOverNetwork(
  board: VirtualBoard,
  world: FirmwareWorld,
  overrides: Partial<FirmwareSettings> = {},
): Promise<BootedFirmware> {
  const settings = { ...FIRMWARE_DEFAULTS, ...overrides };
  const { clock, random, report } = world;
  const log = (text: string) => report({ kind: "firmware-log", text });
  const stack = new NetworkStack({ mac: board.mac, clock, transmit: (frame) => world.port.send(frame) });
  world.port.onFrame((frame) => stack.receive(frame));

  log(`NETWORK: ${board.mac} wait for link TFTP: 0.0.0.0`);
  await new Promise<void>((resolve) => void clock.after(settings.linkUpMs, resolve));
  log("LINK STATUS: speed: 1000 full duplex");
  const { ownAddress, tftpServer } = await bringNetworkUp({ stack, clock, random, board, times: settings, report });

  const { blockBytes, rollover } = settings;
  const files = new BootFiles({ stack, clock, server: tftpServer, blockBytes, rollover, times: settings, report });
  const load = board.model.bootloader === "2712" ? loadAs2712 : loadAs2711;
  const loaded = await load(files, board, settings.discardContents);
  log("Stopping network");
  return { ownAddress, serverAddress: tftpServer, ...loaded, files: files.loaded };
}

type Loaded = Pick<BootedFirmware, "kernel" | "initramfs" | "deviceTree" | "commandLine">;

/** Pi 4, 400, CM4: the EEPROM loads start4.elf, and that loads the rest. */
async function loadAs2711(files: BootFiles, board: VirtualBoard, discard: boolean): Promise<Loaded> {
  await files.choosePrefix(`${board.serial}/`, ["start4.elf", "start.elf"]);
  await files.read("config.txt");
  await files.read("pieeprom.sig");
  await files.probe("recover4.elf");
  await files.probe("recovery.elf");
  const start = await files.read("start4.elf", { discard: true });
  const fixup = await files.read("fixup4.dat", { discard: true });
  if (start === undefined || fixup === undefined) {
    const name = start === undefined ? "start4.elf" : "fixup4.dat";
    throw new FirmwareFailure(
      "firmware-missing",
      `Cannot start the firmware: the server has no ${name} (4 short flashes)`,
    );
  }

  await files.probe("recovery.elf");
  const selection = await selectBootFiles(files, board);
  await files.read("dt-blob.bin");
  await files.read("bootcfg.txt");
  const initramfs = await loadInitramfs(files, selection.initramfs, discard);
  const deviceTree = await loadDeviceTree(files, selection.deviceTree);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays);
  const commandLine = await loadCommandLine(files, selection.commandLineFile);
  await files.read("armstub8-gic.bin");
  const kernel = await loadKernel(files, selection.kernel, discard);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

/** Pi 5, CM5: everything start4.elf did is in the EEPROM. The kernel is read twice, about a second apart. */
async function loadAs2712(files: BootFiles, board: VirtualBoard, discard: boolean): Promise<Loaded> {
  await files.choosePrefix(`${board.serial}/`, ["config.txt"]);
  const selection = await selectBootFiles(files, board);
  await files.read("pieeprom.sig");
  const deviceTree = await loadDeviceTree(files, selection.deviceTree);
  await loadKernel(files, selection.kernel, true);
  const initramfs = await loadInitramfs(files, selection.initramfs, discard);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays);
  const commandLine = await loadCommandLine(files, selection.commandLineFile);
  await files.read("armstub8-2712.bin");
  const kernel = await loadKernel(files, selection.kernel, discard);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

/** An initramfs that is not there is no reason to stop: the firmware starts the kernel without it. */
async function loadInitramfs(files: BootFiles, names: string[], discard: boolean): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  for (const name of names) {
    const file = await files.read(name, { discard });
    if (file !== undefined) parts.push(file.bytes);
  }
  return parts.length === 0 ? undefined : Buffer.concat(parts);
}

async function loadDeviceTree(files: BootFiles, name: string | undefined): Promise<LoadedFile> {
  const file = name === undefined ? undefined : await files.read(name);
  if (file !== undefined) return file;
  const why = name === undefined ? "config.txt says device_tree= without a name" : `the server has no ${name}`;
  throw new FirmwareFailure("device-tree-missing", `Cannot start a kernel without its device tree: ${why}`);
}

/** Missing overlays are skipped, as the firmware skips them. */
async function loadOverlays(files: BootFiles, prefix: string, names: string[]): Promise<void> {
  await files.read(`${prefix}overlay_map.dtb`);
  for (const name of names) await files.read(`${prefix}${name}.dtbo`);
}

async function loadCommandLine(files: BootFiles, name: string): Promise<string> {
  const file = await files.read(name);
  const text = Buffer.from(file?.bytes ?? []).toString("latin1");
  return text.split(/[\r\n]/, 1)[0] ?? "";
}

async function loadKernel(files: BootFiles, name: string, discard: boolean): Promise<LoadedFile> {
  const file = await files.read(name, { discard });
  if (file !== undefined) return file;
  throw new FirmwareFailure("kernel-missing", `Cannot find the kernel: the server has no ${name} (7 short flashes)`);
}
