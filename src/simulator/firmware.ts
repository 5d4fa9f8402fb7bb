/**
 * The boot loaders of the Pi 3B+, 4 and 5 families, booting over the network, up to the start of the kernel.
 *
 * Sources: Raspberry Pi documentation (boot flow, boot-net, eeprom-bootloader, config.txt), the boot loader's published
 * log strings, and captures of boards. Left out: other boot modes than network, the 3B's own ROM with its bugs, signed
 * boot, boot.img, HTTP, IPv6, and flashing: a served pieeprom.upd is never used.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Clock, EthernetPort, Random } from "../ports.ts";
import { type LoadedSystem, loadAs2711, loadAs2712, loadAs2837, loadSecondStage } from "./file-sequences.ts";
import type { FirmwareEvent } from "./firmware-events.ts";
import { BootFiles, type FileTimes, type LoadedFile, type TftpDialect } from "./firmware-files.ts";
import { bringNetworkUp, type DhcpTimes, type NetworkReady } from "./firmware-network.ts";
import type { VirtualBoard } from "./models.ts";
import { NetworkStack } from "./network-stack.ts";

export interface FirmwareSettings extends DhcpTimes, FileTimes {
  /** EEPROM boot loaders only: 1468 since 2022-10-03, 1024 before. */
  blockBytes: number;
  /** Since 2025-09-23. */
  rollover: boolean;
  /** How long the switch and the PHY take to agree. Chosen. */
  linkUpMs: number;
  /** Load kernel and initramfs, but keep only their sizes: for fleets that stop before the kernel. */
  discardContents: boolean;
}

/** The EEPROM boot loader's own defaults (eeprom-bootloader documentation). */
const EEPROM_DEFAULTS: FirmwareSettings = {
  dhcpTimeoutMs: 45_000,
  dhcpRequestTimeoutMs: 4000,
  dhcpBackoff: 2,
  tftpFileTimeoutMs: 30_000,
  blockBytes: 1468,
  rollover: true,
  linkUpMs: 500,
  discardContents: false,
};
/** Five DISCOVERs, five seconds apart, by the ROM; its second stage goes on for about a minute. */
const ROM_DEFAULTS: FirmwareSettings = {
  ...EEPROM_DEFAULTS,
  dhcpTimeoutMs: 25_000,
  dhcpRequestTimeoutMs: 5000,
  dhcpBackoff: 1,
  rollover: false,
};
const SECOND_STAGE_DHCP_TIMEOUT_MS = 60_000;

const ROM_TFTP = { options: [], blockBytes: 512, firstLocalPort: 49152, impatient: false } as const;
const SECOND_STAGE_TFTP = { options: ["tsize"], blockBytes: 512, firstLocalPort: 49154, impatient: true } as const;
/** The port is one seen in captures; where it starts after power-on is not known. */
const EEPROM_TFTP = { options: ["tsize", "blksize"], firstLocalPort: 40084, impatient: false } as const;

export interface FirmwareWorld {
  port: EthernetPort;
  clock: Clock;
  random: Random;
  report(event: FirmwareEvent): void;
}

export interface BootedFirmware extends LoadedSystem {
  ownAddress: Ipv4;
  serverAddress: Ipv4;
  /** Every file that was read, by the path it was asked for. */
  files: ReadonlyMap<string, LoadedFile>;
}

/** One attempt to boot. Throws `FirmwareFailure`. The port stays open. */
export async function bootOverNetwork(
  board: VirtualBoard,
  world: FirmwareWorld,
  overrides: Partial<FirmwareSettings> = {},
): Promise<BootedFirmware> {
  const fromRom = board.model.bootloader === "2837";
  const settings = { ...(fromRom ? ROM_DEFAULTS : EEPROM_DEFAULTS), ...overrides };
  await waitForLink(board, world, settings);
  return fromRom ? bootFromRom(board, world, settings) : bootFromEeprom(board, world, settings);
}

async function bootFromEeprom(
  board: VirtualBoard,
  world: FirmwareWorld,
  settings: FirmwareSettings,
): Promise<BootedFirmware> {
  const { blockBytes, rollover } = settings;
  const { network, files } = await startStage(board, world, settings, { ...EEPROM_TFTP, blockBytes, rollover });
  const load = board.model.bootloader === "2712" ? loadAs2712 : loadAs2711;
  const system = await load(files, board, settings.discardContents);
  return finish(world, network, files, system);
}

/** The ROM loads bootcode.bin; that asks DHCP again, as if nothing had been. */
async function bootFromRom(
  board: VirtualBoard,
  world: FirmwareWorld,
  settings: FirmwareSettings,
): Promise<BootedFirmware> {
  const { rollover } = settings;
  const rom = await startStage(board, world, settings, { ...ROM_TFTP, rollover });
  await loadSecondStage(rom.files);
  const dhcpTimeoutMs = Math.max(settings.dhcpTimeoutMs, SECOND_STAGE_DHCP_TIMEOUT_MS);
  const times = { ...settings, dhcpTimeoutMs };
  const { network, files } = await startStage(board, world, times, { ...SECOND_STAGE_TFTP, rollover });
  const system = await loadAs2837(files, board, settings.discardContents);
  return finish(world, network, files, system);
}

async function waitForLink(board: VirtualBoard, world: FirmwareWorld, settings: FirmwareSettings): Promise<void> {
  log(world, `NETWORK: ${board.mac} wait for link TFTP: 0.0.0.0`);
  await new Promise<void>((resolve) => void world.clock.after(settings.linkUpMs, resolve));
  log(world, "LINK STATUS: speed: 1000 full duplex");
}

/** A program with a network stack of its own: address, server, and how to read files from it. */
async function startStage(
  board: VirtualBoard,
  world: FirmwareWorld,
  times: FirmwareSettings,
  dialect: TftpDialect,
): Promise<{ network: NetworkReady; files: BootFiles }> {
  const { port, clock, random, report } = world;
  const stack = new NetworkStack({ mac: board.mac, clock, transmit: (frame) => port.send(frame) });
  port.onFrame((frame) => stack.receive(frame));
  const network = await bringNetworkUp({ stack, clock, random, board, times, report });
  const files = new BootFiles({ stack, clock, server: network.tftpServer, dialect, times, report });
  return { network, files };
}

function finish(world: FirmwareWorld, network: NetworkReady, files: BootFiles, system: LoadedSystem): BootedFirmware {
  log(world, "Stopping network");
  return { ownAddress: network.ownAddress, serverAddress: network.tftpServer, ...system, files: files.loaded };
}

function log(world: FirmwareWorld, text: string): void {
  world.report({ kind: "firmware-log", text });
}
