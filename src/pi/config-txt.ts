/**
 * config.txt, the firmware's settings: which kernel, initramfs, device tree and command line a board will ask for.
 * Source: Raspberry Pi documentation, "config_txt" (conditional, boot, common, memory).
 * Left out: settings that do not change which files are fetched; they are parsed, kept and not interpreted.
 */
import { CONFIG_TXT_BYTES_MAX } from "../limits.ts";
import type { PiModel } from "./models.ts";

export type ConfigLine =
  | { kind: "text"; raw: string }
  | { kind: "filter"; raw: string; filter: string }
  | { kind: "include"; raw: string; path: string }
  | { kind: "setting"; raw: string; key: string; value: string };

/** Splits into lines; a comment or blank line is `text`. Never fails: the firmware ignores what it does not know. */
export function parseConfigTxt(text: string): ConfigLine[] {
  return text.split(/\r?\n/).map((raw): ConfigLine => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) return { kind: "text", raw };
    const filter = /^\[(.*)\]$/.exec(line)?.[1];
    if (filter !== undefined) return { kind: "filter", raw, filter };
    const include = /^include\s+(\S+)$/.exec(line)?.[1];
    if (include !== undefined) return { kind: "include", raw, path: include };
    const initramfs = /^initramfs[\s=]+(.*)$/.exec(line)?.[1];
    if (initramfs !== undefined) return { kind: "setting", raw, key: "initramfs", value: initramfs };
    const equals = line.indexOf("=");
    if (equals < 0) return { kind: "text", raw };
    return { kind: "setting", raw, key: line.slice(0, equals).trim(), value: line.slice(equals + 1).trim() };
  });
}

/** The boot files as the firmware reaches them: relative paths without a leading `/`. */
export interface BootFiles {
  read(path: string): Uint8Array | undefined;
  exists(path: string): boolean;
}

export interface Board {
  model: PiModel;
  /** Eight lower-case hex digits; without it `[0x…]` sections do not hold. */
  serial?: string;
  tryboot?: boolean;
}

/** What the firmware will ask for. Paths are relative to the boot tree and carry `os_prefix`. */
export interface BootSelection {
  kernel: string;
  is64Bit: boolean;
  /** Empty when none is loaded; several files are loaded one behind the other. */
  initramfs: string[];
  /** `undefined` when config.txt asks for none. */
  deviceTree?: string;
  commandLineFile: string;
  /** Names as written after `dtoverlay=`, without parameters. */
  overlays: string[];
  overlayPrefix: string;
  /** Every config file read, in order: config.txt and what it includes. */
  configFiles: string[];
}

const INCLUDES_MAX = 16;
const KERNELS_32: readonly string[] = ["kernel7l.img", "kernel7.img", "kernel.img", "kernel8-32.img"];
const KERNELS_64: readonly string[] = ["kernel8.img", "kernel_2712.img", "kernel8_rt.img"];

/** Follows the firmware's own rules for one board. */
export function evaluateConfigTxt(files: BootFiles, board: Board): BootSelection {
  const settings = readSettings(files, board);
  const explicit = settings.value("kernel");
  const is64Bit = decideBits(settings, explicit, board.model);
  const upstream = settings.value("upstream_kernel") === "1";
  const candidates = is64Bit ? board.model.kernels64 : board.model.kernels32;
  const { deviceTree, upstreamDeviceTree } = board.model;
  const treeCandidates = settings.has("device_tree")
    ? [settings.value("device_tree")!]
    : upstream
      ? [upstreamDeviceTree, deviceTree]
      : [deviceTree];

  const choose = (prefix: string) => ({
    prefix,
    kernel: firstExisting(files, prefix, explicit ? [explicit] : candidates),
    deviceTree: firstExisting(files, prefix, treeCandidates),
  });
  const wantedPrefix = settings.value("os_prefix") ?? (upstream ? "upstream/" : "");
  const prefixed = choose(wantedPrefix);
  // The prefix counts only when kernel and device tree are really there.
  const chosen = files.exists(prefixed.kernel) && files.exists(prefixed.deviceTree) ? prefixed : choose("");
  const disabled = settings.has("device_tree") && settings.value("device_tree") === "";

  return {
    kernel: chosen.kernel,
    is64Bit,
    initramfs: initramfsFiles(files, settings, chosen.prefix, chosen.kernel),
    ...(!disabled && { deviceTree: chosen.deviceTree }),
    commandLineFile: chosen.prefix + (settings.value("cmdline") ?? "cmdline.txt"),
    overlays: settings.values("dtoverlay").flatMap((value) => value.split(/[,:]/, 1).filter(Boolean)),
    overlayPrefix: overlayPrefix(files, settings, chosen.prefix),
    configFiles: settings.files,
  };
}

class Settings {
  readonly files: string[] = [];
  readonly #values = new Map<string, string[]>();

  add(key: string, value: string): void {
    const known = this.#values.get(key);
    if (known) known.push(value);
    else this.#values.set(key, [value]);
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The last one stated, as the firmware has it. */
  value(key: string): string | undefined {
    return this.#values.get(key)?.at(-1);
  }

  values(key: string): string[] {
    return this.#values.get(key) ?? [];
  }
}

function readSettings(files: BootFiles, board: Board): Settings {
  const settings = new Settings();
  const filters = new FilterState(board);
  const readFile = (path: string) => {
    const bytes = files.read(path);
    if (bytes === undefined || settings.files.length >= INCLUDES_MAX) return;
    settings.files.push(path);
    for (const line of parseConfigTxt(visibleText(bytes))) {
      if (line.kind === "filter") filters.apply(line.filter);
      else if (!filters.hold) continue;
      else if (line.kind === "include") readFile(line.path);
      else if (line.kind === "setting") settings.add(line.key, line.value);
    }
  };
  readFile(board.tryboot && files.exists("tryboot.txt") ? "tryboot.txt" : "config.txt");
  return settings;
}

/** Over the network the firmware reads so many bytes and stops at the first that is not ASCII (firmware issue 1012). */
function visibleText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, CONFIG_TXT_BYTES_MAX)).toString("latin1");
  const foreign = text.search(/[^\t\r\n\x20-\x7e]/);
  return foreign < 0 ? text : text.slice(0, foreign);
}

/** Filters of different kinds must all hold; one of the same kind replaces the last; `[all]` clears them. */
class FilterState {
  readonly #board: Board;
  readonly #byKind = new Map<string, boolean>();

  constructor(board: Board) {
    this.#board = board;
  }

  get hold(): boolean {
    return [...this.#byKind.values()].every(Boolean);
  }

  apply(filter: string): void {
    const { model, serial, tryboot } = this.#board;
    if (filter === "all") this.#byKind.clear();
    else if (filter === "tryboot") this.#byKind.set("tryboot", tryboot === true);
    else if (/^0x[0-9a-f]+$/i.test(filter)) {
      this.#byKind.set("serial", serial !== undefined && Number.parseInt(filter, 16) === Number.parseInt(serial, 16));
    } else if (/^board-type=/i.test(filter)) {
      this.#byKind.set("board-type", model.boardTypes.includes(Number(filter.slice("board-type=".length))));
    } else if (filter.includes("=")) {
      // A monitor (EDID) or a pin (gpio4=1) cannot be known from here; such sections rarely choose a kernel.
      this.#byKind.set(filter.split(/[\d=]/, 1)[0]!.toLowerCase(), false);
    } else {
      this.#byKind.set("model", model.filters.includes(filter));
    }
  }
}

function decideBits(settings: Settings, explicitKernel: string | undefined, model: PiModel): boolean {
  if (model.kernels32.length === 0) return true;
  if (explicitKernel && KERNELS_64.includes(explicitKernel)) return true;
  if (explicitKernel && KERNELS_32.includes(explicitKernel)) return false;
  const stated = settings.value("arm_64bit");
  return stated === undefined ? model.defaultsTo64Bit : stated !== "0";
}

function firstExisting(files: BootFiles, prefix: string, names: readonly string[]): string {
  const paths = names.map((name) => prefix + name);
  return paths.find((path) => files.exists(path)) ?? paths[0] ?? "";
}

function initramfsFiles(files: BootFiles, settings: Settings, prefix: string, kernel: string): string[] {
  const stated = settings.value("initramfs") ?? settings.value("ramfsfile");
  if (stated) {
    const names = stated.split(/\s+/, 1)[0]!.split(",");
    return names.filter(Boolean).map((name) => prefix + name);
  }
  if (settings.value("auto_initramfs") !== "1") return [];
  const automatic = automaticInitramfs(kernel);
  return automatic !== undefined && files.exists(automatic) ? [automatic] : [];
}

/** The file `auto_initramfs=1` looks for: `kernel8.img` → `initramfs8`. */
export function automaticInitramfs(kernel: string): string | undefined {
  const match = /^(.*\/)?kernel([^/]*?)(?:\.img)?$/.exec(kernel);
  return match ? `${match[1] ?? ""}initramfs${match[2]}` : undefined;
}

/** Overlays lie under the prefix only if `overlays/README` says that they do. */
function overlayPrefix(files: BootFiles, settings: Settings, prefix: string): string {
  const own = settings.value("overlay_prefix") ?? "overlays/";
  return files.exists(`${prefix}${own}README`) ? prefix + own : own;
}
