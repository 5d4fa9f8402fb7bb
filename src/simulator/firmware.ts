/**
 * The boot firmware of all Raspberry Pis with a network port that boot over it, up to the start of the kernel: the boot
 * ROM and bootcode.bin of the Pi 3, the EEPROM boot loaders of the Pi 4 and 5 families.
 *
 * Sources: Raspberry Pi documentation (boot flow, boot-net, eeprom-bootloader, config.txt), the boot loader's published
 * log strings, and captures of boards. Left out: other boot modes than network, signed boot, boot.img, HTTP, IPv6, and
 * flashing: a served pieeprom.upd is never used.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Clock, EthernetPort, Random } from "../ports.ts";
import { netconsole } from "./boot-console.ts";
import {
  type BootStage,
  eepromConfiguration,
  eepromFamily,
  eepromStage,
  romStage,
  secondStage,
} from "./boot-stages.ts";
import {
  type LoadedSystem,
  type LoadOptions,
  loadAs2711,
  loadAs2712,
  loadAs2837,
  loadSecondStage,
  serialPrefix,
} from "./file-sequences.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import { BootFiles, type LoadedFile } from "./firmware-files.ts";
import { bringNetworkUp, type NetworkContext, type NetworkReady } from "./firmware-network.ts";
import { eepromRelease } from "./firmware-releases.ts";
import type { FirmwareSettings } from "./firmware-settings.ts";
import type { VirtualBoard } from "./models.ts";
import { NetworkStack } from "./network-stack.ts";
import { type RomContext, runRom } from "./rom.ts";

export type { FirmwareSettings } from "./firmware-settings.ts";

/** Chosen. Of a 3B it is known that its port lights up about five seconds after power-on. */
const LINK_UP_MS = { eeprom: 500, rom: 5000 };

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

/** One attempt to boot; of a board with a boot ROM all its tries. Throws `FirmwareFailure`. The port stays open. */
export async function bootOverNetwork(
  board: VirtualBoard,
  world: FirmwareWorld,
  settings: Partial<FirmwareSettings> = {},
): Promise<BootedFirmware> {
  const { rom } = board.model;
  const linkUpMs = settings.linkUpMs ?? LINK_UP_MS[rom === undefined ? "eeprom" : "rom"];
  if (rom === undefined) return bootFromEeprom(board, world, settings, linkUpMs);
  await new Promise<void>((resolve) => void world.clock.after(linkUpMs, resolve));
  // These programs have no log as the EEPROM's.
  const report = (event: FirmwareEvent) => {
    if (event.kind !== "firmware-log") world.report(event);
  };
  return bootFromRom(board, { ...world, report }, rom, settings);
}

async function bootFromEeprom(
  board: VirtualBoard,
  outside: FirmwareWorld,
  settings: Partial<FirmwareSettings>,
  linkUpMs: number,
): Promise<BootedFirmware> {
  log(outside, `NETWORK: ${board.mac} wait for link TFTP: 0.0.0.0`);
  await new Promise<void>((resolve) => void outside.clock.after(linkUpMs, resolve));
  const world = withNetconsole(board, outside, settings);
  log(world, "LINK STATUS: speed: 1000 full duplex");
  const stage = eepromStage(board, settings);
  const { network, files } = await startStage(board, world, stage);
  const how: LoadOptions = { prefix: filePrefix(board, settings), discard: settings.discardContents ?? false };
  const load = board.model.bootloader === "2712" ? loadAs2712 : loadAs2711;
  const system = await load(files, board, how);
  log(world, "Stopping network");
  return finish(network, files, system);
}

function withNetconsole(board: VirtualBoard, world: FirmwareWorld, settings: Partial<FirmwareSettings>): FirmwareWorld {
  const release = eepromRelease(eepromFamily(board), settings.released);
  const say = netconsole(eepromConfiguration(settings).netconsole, world.port, board.mac, release);
  const report = (event: FirmwareEvent) => {
    if (event.kind === "firmware-log") say(event.text);
    world.report(event);
  };
  return { ...world, report };
}

function filePrefix(board: VirtualBoard, settings: Partial<FirmwareSettings>): string {
  const { prefix } = eepromConfiguration(settings);
  if (prefix === "serial") return serialPrefix(board);
  return prefix === "mac" ? `${board.mac.replaceAll(":", "-")}/` : prefix.text;
}

/** The ROM loads bootcode.bin; that asks DHCP again, as if nothing had been, and is the end if it gets nowhere. */
async function bootFromRom(
  board: VirtualBoard,
  world: FirmwareWorld,
  rom: NonNullable<VirtualBoard["model"]["rom"]>,
  settings: Partial<FirmwareSettings>,
): Promise<BootedFirmware> {
  const stage = romStage(rom, settings);
  const startTry = (): RomContext => ({ ...world, stack: plugStack(board, world, stage), board, stage });
  await runRom(startTry, (context, network) => loadSecondStage(bootFiles(context, network)));
  try {
    const { network, files } = await startStage(board, world, secondStage(settings));
    const how: LoadOptions = { prefix: serialPrefix(board), discard: settings.discardContents ?? false };
    return finish(network, files, await loadAs2837(files, board, how));
  } catch (error) {
    if (!(error instanceof FirmwareFailure)) throw error;
    throw new FirmwareFailure(error.reason, error.message, true);
  }
}

function plugStack(board: VirtualBoard, { port, clock }: FirmwareWorld, { link }: BootStage): NetworkStack {
  const { packets } = link;
  const stack = new NetworkStack({ mac: board.mac, clock, transmit: (frame) => port.send(frame), packets });
  port.onFrame((frame) => stack.receive(frame));
  return stack;
}

/** A program with a network stack of its own: address, server, and how to read files from it. */
async function startStage(
  board: VirtualBoard,
  world: FirmwareWorld,
  stage: BootStage,
): Promise<{ network: NetworkReady; files: BootFiles }> {
  const context = { ...world, stack: plugStack(board, world, stage), board, stage };
  const network = await bringNetworkUp(context);
  return { network, files: bootFiles(context, network) };
}

function bootFiles({ stack, clock, stage, report }: NetworkContext, { tftpServer: server }: NetworkReady): BootFiles {
  stack.answersArp = stage.link.answersArpInTransfer;
  return new BootFiles({ stack, clock, server, dialect: stage.tftp, times: stage.times, report });
}

function finish(network: NetworkReady, files: BootFiles, system: LoadedSystem): BootedFirmware {
  return { ownAddress: network.ownAddress, serverAddress: network.tftpServer, ...system, files: files.loaded };
}

function log(world: FirmwareWorld, text: string): void {
  world.report({ kind: "firmware-log", text });
}
