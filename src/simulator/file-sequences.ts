/**
 * Which files each boot loader asks for, in which order, and which of them it cannot do without.
 *
 * Sources: Raspberry Pi documentation (boot flow, config.txt) and captures of boards. Files that are asked for and not
 * used here (dt-blob.bin, recovery.elf, armstub8 and the like) are asked for because boards ask for them.
 */
import { selectBootFiles } from "./boot-selection.ts";
import { FirmwareFailure } from "./firmware-events.ts";
import type { BootFiles, LoadedFile } from "./firmware-files.ts";
import type { VirtualBoard } from "./models.ts";

/** What is in memory when the kernel starts. */
export interface LoadedSystem {
  kernel: LoadedFile;
  /** Several are loaded one behind the other, as one. */
  initramfs?: Uint8Array;
  deviceTree: LoadedFile;
  /** The text of cmdline.txt as it was fetched, without the line end. */
  commandLine: string;
}

/** Pi 3B+: the ROM knows two names, without any prefix. */
export async function loadSecondStage(files: BootFiles): Promise<void> {
  const bootcode = await files.read("bootcode.bin", { discard: true });
  await files.read("bootsig.bin", { discard: true });
  if (bootcode === undefined) {
    throw new FirmwareFailure("firmware-missing", "Cannot start the second stage: the server has no bootcode.bin");
  }
}

/** Pi 3B+: bootcode.bin loads start.elf, and that loads the rest. */
export async function loadAs2837(files: BootFiles, board: VirtualBoard, discard: boolean): Promise<LoadedSystem> {
  await files.choosePrefix(`${board.serial}/`, ["start.elf"]);
  await files.read("autoboot.txt");
  await files.read("config.txt");
  await files.read("recovery.elf", { discard: true });
  await loadFirmware(files, "start.elf", "fixup.dat");
  return loadSystem(files, board, discard, "armstub8.bin");
}

/** Pi 4, 400, CM4: the EEPROM loads start4.elf, and that loads the rest. */
export async function loadAs2711(files: BootFiles, board: VirtualBoard, discard: boolean): Promise<LoadedSystem> {
  await files.choosePrefix(`${board.serial}/`, ["start4.elf", "start.elf"]);
  await files.read("config.txt");
  await files.read("pieeprom.sig");
  await files.probe("recover4.elf");
  await files.probe("recovery.elf");
  await loadFirmware(files, "start4.elf", "fixup4.dat");
  return loadSystem(files, board, discard, "armstub8-gic.bin");
}

async function loadFirmware(files: BootFiles, program: string, fixup: string): Promise<void> {
  const loaded = [await files.read(program, { discard: true }), await files.read(fixup, { discard: true })];
  if (loaded.every((file) => file !== undefined)) return;
  const missing = loaded[0] === undefined ? program : fixup;
  const why = `the server has no ${missing} (4 short flashes)`;
  throw new FirmwareFailure("firmware-missing", `Cannot start the firmware: ${why}`);
}

/** What start.elf and start4.elf do. */
async function loadSystem(
  files: BootFiles,
  board: VirtualBoard,
  discard: boolean,
  armstub: string,
): Promise<LoadedSystem> {
  await files.probe("recovery.elf");
  const selection = await selectBootFiles(files, board);
  await files.read("dt-blob.bin");
  await files.read("bootcfg.txt");
  const initramfs = await loadInitramfs(files, selection.initramfs, discard);
  const deviceTree = await loadDeviceTree(files, selection.deviceTree);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays);
  const commandLine = await loadCommandLine(files, selection.commandLineFile);
  await files.read(armstub);
  const kernel = await loadKernel(files, selection.kernel, discard);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

/** Pi 5, CM5: everything start4.elf did is in the EEPROM. The kernel is read twice, about a second apart. */
export async function loadAs2712(files: BootFiles, board: VirtualBoard, discard: boolean): Promise<LoadedSystem> {
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
