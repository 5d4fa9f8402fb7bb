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

export interface LoadOptions {
  /** Of the EEPROM's configuration; before the Pi 4 it is always the serial number. */
  prefix: string;
  /** Large files are counted and not kept. */
  discard: boolean;
}

/** Pi 3: the ROM knows two names, without any prefix. */
export async function loadSecondStage(files: BootFiles): Promise<void> {
  const bootcode = await files.read("bootcode.bin", { discard: true });
  if (bootcode === undefined) {
    throw new FirmwareFailure("firmware-missing", "Cannot start the second stage: the server has no bootcode.bin");
  }
  await files.read("bootsig.bin", { discard: true });
}

/** Pi 3: bootcode.bin loads start.elf, and that loads the rest: it asks for each file twice. */
export async function loadAs2837(files: BootFiles, board: VirtualBoard, how: LoadOptions): Promise<LoadedSystem> {
  await files.choosePrefix(serialPrefix(board), ["start.elf"]);
  await files.read("autoboot.txt");
  await files.read("config.txt");
  await files.read("recovery.elf", { discard: true });
  await loadFirmware(files, "start.elf", "fixup.dat");
  await files.probe("recovery.elf");
  await files.probe("config.txt");
  const selection = await selectBootFiles(files, board);
  await files.read("dt-blob.bin");
  await files.probe("recovery.elf");
  await files.probeAndRead("config.txt");
  await files.read("bootcfg.txt");
  const twice = { ...how, isAskedTwice: true };
  const deviceTree = await loadDeviceTree(files, selection.deviceTree, twice);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays, twice);
  const commandLine = await loadCommandLine(files, selection.commandLineFile, twice);
  const initramfs = await loadInitramfs(files, selection.initramfs, how);
  await files.probe("recovery8.img");
  await files.probeAndRead("armstub8.bin");
  const kernel = await loadKernel(files, selection.kernel, twice);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

/** Pi 4, 400, CM4: the EEPROM loads start4.elf, and that loads the rest. */
export async function loadAs2711(files: BootFiles, board: VirtualBoard, how: LoadOptions): Promise<LoadedSystem> {
  await files.choosePrefix(how.prefix, ["start4.elf", "start.elf"]);
  await files.read("config.txt");
  if (hasOwnUsbFlash(board)) await files.read("vl805.sig");
  await files.read("pieeprom.sig");
  await files.probe("recover4.elf");
  await files.probe("recovery.elf");
  await loadFirmware(files, "start4.elf", "fixup4.dat");
  await files.probe("recovery.elf");
  await files.read("config.txt");
  const selection = await selectBootFiles(files, board);
  await files.read("dt-blob.bin");
  await files.probe("recovery.elf");
  await files.read("config.txt");
  await files.read("bootcfg.txt");
  const initramfs = await loadInitramfs(files, selection.initramfs, how);
  const deviceTree = await loadDeviceTree(files, selection.deviceTree, how);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays, how);
  const commandLine = await loadCommandLine(files, selection.commandLineFile, how);
  await files.probe("recovery8.img");
  await files.read("armstub8-gic.bin");
  const kernel = await loadKernel(files, selection.kernel, how);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

/** The first Pi 4s, up to revision 1.3, have the USB controller's firmware in a flash of its own. */
function hasOwnUsbFlash({ model }: VirtualBoard): boolean {
  return model.pi.id === "4" && (model.revision & 0xf) <= 3;
}

export function serialPrefix(board: VirtualBoard): string {
  return `${board.serial}/`;
}

async function loadFirmware(files: BootFiles, program: string, fixup: string): Promise<void> {
  const loaded = [await files.read(program, { discard: true }), await files.read(fixup, { discard: true })];
  if (loaded.every((file) => file !== undefined)) return;
  const missing = loaded[0] === undefined ? program : fixup;
  const why = `the server has no ${missing} (4 short flashes)`;
  throw new FirmwareFailure("firmware-missing", `Cannot start the firmware: ${why}`);
}

/** Pi 5, 500, CM5: everything start4.elf did is in the EEPROM. The kernel is read twice, about a second apart. */
export async function loadAs2712(files: BootFiles, board: VirtualBoard, how: LoadOptions): Promise<LoadedSystem> {
  await files.choosePrefix(how.prefix, ["config.txt"]);
  const selection = await selectBootFiles(files, board);
  await files.read("pieeprom.sig");
  const deviceTree = await loadDeviceTree(files, selection.deviceTree, how);
  await loadKernel(files, selection.kernel, { ...how, discard: true });
  const initramfs = await loadInitramfs(files, selection.initramfs, how);
  await loadOverlays(files, selection.overlayPrefix, selection.overlays, how);
  const commandLine = await loadCommandLine(files, selection.commandLineFile, how);
  await files.read("armstub8-2712.bin");
  const kernel = await loadKernel(files, selection.kernel, how);
  return { kernel, ...(initramfs && { initramfs }), deviceTree, commandLine };
}

type ReadOptions = Pick<LoadOptions, "discard"> & { isAskedTwice?: boolean };

function readFile(files: BootFiles, name: string, { discard, isAskedTwice }: ReadOptions) {
  return isAskedTwice ? files.probeAndRead(name, { discard }) : files.read(name, { discard });
}

/** An initramfs that is not there is no reason to stop: the firmware starts the kernel without it. */
async function loadInitramfs(files: BootFiles, names: string[], how: ReadOptions): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  for (const name of names) {
    const file = await readFile(files, name, how);
    if (file !== undefined) parts.push(file.bytes);
  }
  return parts.length === 0 ? undefined : Buffer.concat(parts);
}

async function loadDeviceTree(files: BootFiles, name: string | undefined, how: ReadOptions): Promise<LoadedFile> {
  const file = name === undefined ? undefined : await readFile(files, name, { ...how, discard: false });
  if (file !== undefined) return file;
  const why = name === undefined ? "config.txt says device_tree= without a name" : `the server has no ${name}`;
  throw new FirmwareFailure("device-tree-missing", `Cannot start a kernel without its device tree: ${why}`);
}

/** Missing overlays are skipped, as the firmware skips them. */
async function loadOverlays(files: BootFiles, prefix: string, names: string[], how: ReadOptions): Promise<void> {
  for (const name of ["overlay_map.dtb", ...names.map((overlay) => `${overlay}.dtbo`)]) {
    await readFile(files, prefix + name, how);
  }
}

async function loadCommandLine(files: BootFiles, name: string, how: ReadOptions): Promise<string> {
  const file = await readFile(files, name, { ...how, discard: false });
  const text = Buffer.from(file?.bytes ?? []).toString("latin1");
  return text.split(/[\r\n]/, 1)[0] ?? "";
}

async function loadKernel(files: BootFiles, name: string, how: ReadOptions): Promise<LoadedFile> {
  const file = await readFile(files, name, how);
  if (file !== undefined) return file;
  throw new FirmwareFailure("kernel-missing", `Cannot find the kernel: the server has no ${name} (7 short flashes)`);
}
