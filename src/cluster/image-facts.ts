/**
 * What an OS image is and can do, read from its two file systems: which system, for which machine, with which kernels,
 * on which Raspberry Pi models. Plain data, so that it can be kept beside the image and shown by `image inspect`.
 */
import { IMAGE_TEXT_BYTES_MAX } from "../limits.ts";
import { type BootFiles, evaluateConfigTxt } from "../pi/config-txt.ts";
import { PI_MODELS, type PiModel } from "../pi/models.ts";
import type { ImageFiles } from "./generated-file.ts";
import { type KernelFacts, readKernels } from "./kernel-facts.ts";

export type { KernelFacts } from "./kernel-facts.ts";

export type Flavour = "raspios-bookworm" | "raspios-trixie" | "raspios" | "debian" | "ubuntu" | "busybox" | "other";
export type Architecture = "arm64" | "arm" | "x86-64" | "x86" | "riscv64" | "unknown";
export type InitSystem = "systemd" | "busybox" | "other";
export type NetworkManager = "networkmanager" | "dhcpcd" | "systemd-networkd" | "ifupdown" | "netplan";

export interface ImageFacts {
  os: { id: string; name: string; version?: string; codename?: string };
  flavour: Flavour;
  architecture: Architecture;
  init: InitSystem;
  kernels: KernelFacts[];
  /** Names in the boot file system, sorted. */
  deviceTrees: string[];
  /** Where the running system has its boot files: `/boot` or `/boot/firmware`. */
  bootMountPoint: string;
  /** Ids of the models whose firmware, device tree and kernel are all there. */
  models: string[];
  configTxt: string;
  commandLine: string;
  networkManagers: NetworkManager[];
  sshServer: "openssh" | "dropbear" | "none";
  /** Whether `mount` finds the helper of nfs-common; without it only the kernel's own options work. */
  hasNfsMountHelper: boolean;
}

export function readImageFacts(boot: ImageFiles, root: ImageFiles): ImageFacts {
  const os = readOsRelease(root);
  const init = readInit(root);
  const files = bootFiles(boot);
  return {
    os,
    flavour: flavourOf(os, root, init),
    architecture: readArchitecture(root),
    init,
    kernels: readKernels(boot, root),
    deviceTrees: boot
      .list("/")
      .filter((name) => name.endsWith(".dtb"))
      .sort(),
    bootMountPoint: bootMountPoint(root),
    models: PI_MODELS.filter((model) => missingFor(model, files).length === 0).map((model) => model.id),
    configTxt: text(boot, "/config.txt") ?? "",
    commandLine: (text(boot, "/cmdline.txt") ?? "").trim(),
    networkManagers: readNetworkManagers(root),
    sshServer: readSshServer(root),
    hasNfsMountHelper: root.exists("/sbin/mount.nfs"),
  };
}

/** Why nothing can be booted from this image at all; empty for a good one. */
export function imageProblems(facts: ImageFacts): string[] {
  const problems: string[] = [];
  if (facts.architecture !== "arm64" && facts.architecture !== "arm" && facts.architecture !== "unknown") {
    problems.push(
      `Cannot boot the image: its programs are for ${facts.architecture}, and a Raspberry Pi needs arm64 or arm`,
    );
  }
  if (facts.architecture === "unknown")
    problems.push("Cannot boot the image: its root file system holds no /sbin/init or /bin/sh");
  if (facts.kernels.length === 0) problems.push("Cannot boot the image: its boot file system holds no kernel");
  else if (facts.models.length === 0) {
    problems.push("Cannot boot the image: no Raspberry Pi model finds its firmware, device tree and kernel in it");
  }
  return problems;
}

/** The boot file system as the firmware reaches it, by relative path. */
export function bootFiles(boot: ImageFiles): BootFiles {
  return {
    read: (path) => boot.readFile(`/${path}`, IMAGE_TEXT_BYTES_MAX),
    exists: (path) => boot.exists(`/${path}`) && !boot.isDirectory(`/${path}`),
  };
}

/** Files without which a board of this model stops: its firmware, device tree and kernel, as config.txt chooses them. */
function missingFor(model: PiModel, files: BootFiles): string[] {
  const { kernel, deviceTree } = evaluateConfigTxt(files, { model });
  const needed = [...model.firmwareFiles, ...(deviceTree === undefined ? [] : [deviceTree]), kernel];
  return needed.filter((path) => !files.exists(path));
}

function text(files: ImageFiles, path: string): string | undefined {
  const bytes = files.readFile(path, IMAGE_TEXT_BYTES_MAX);
  return bytes && Buffer.from(bytes).toString("utf8");
}

/** os-release(5). */
function readOsRelease(root: ImageFiles): ImageFacts["os"] {
  const lines = (text(root, "/etc/os-release") ?? text(root, "/usr/lib/os-release") ?? "").split("\n");
  const values = new Map(
    lines
      .map((line) => /^(\w+)=(["']?)(.*)\2$/.exec(line.trim()))
      .flatMap((match) => (match ? [[match[1]!, match[3]!]] : [])),
  );
  const version = values.get("VERSION_ID");
  const codename = values.get("VERSION_CODENAME");
  const id = values.get("ID") ?? "unknown";
  return {
    id,
    name: values.get("PRETTY_NAME") ?? values.get("NAME") ?? id,
    ...(version && { version }),
    ...(codename && { codename }),
  };
}

/** Raspberry Pi OS calls itself Debian (64-bit) or Raspbian (32-bit); only its own files tell it apart. */
function flavourOf(os: ImageFacts["os"], root: ImageFiles, init: InitSystem): Flavour {
  if (root.exists("/etc/rpi-issue") || os.id === "raspbian") {
    if (os.codename === "bookworm") return "raspios-bookworm";
    return os.codename === "trixie" ? "raspios-trixie" : "raspios";
  }
  if (os.id === "debian" || os.id === "ubuntu") return os.id;
  return init === "busybox" ? "busybox" : "other";
}

/** `e_machine` of the ELF header, for the machines that images get mixed up with. */
const ELF = { magic: 0x7f454c46, machineAt: 18, headerBytes: 20 } as const;
const ELF_MACHINES: Readonly<Record<number, Architecture>> = {
  3: "x86",
  40: "arm",
  62: "x86-64",
  183: "arm64",
  243: "riscv64",
};

function readArchitecture(root: ImageFiles): Architecture {
  for (const path of ["/sbin/init", "/bin/busybox", "/bin/sh", "/usr/lib/systemd/systemd"]) {
    const program = root.readFile(path);
    if (!program || program.length < ELF.headerBytes) continue;
    const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
    if (view.getUint32(0) === ELF.magic) return ELF_MACHINES[view.getUint16(ELF.machineAt, true)] ?? "unknown";
  }
  return "unknown";
}

function readInit(root: ImageFiles): InitSystem {
  if (root.exists("/usr/lib/systemd/systemd") || root.exists("/lib/systemd/systemd")) return "systemd";
  return root.exists("/etc/inittab") && root.exists("/bin/busybox") ? "busybox" : "other";
}

/** Raspberry Pi OS moved it with bookworm; its own fstab says where it is. */
function bootMountPoint(root: ImageFiles): string {
  const lines = (text(root, "/etc/fstab") ?? "").split("\n").filter((line) => !line.trimStart().startsWith("#"));
  const fields = lines.map((line) => line.trim().split(/\s+/));
  const stated = fields.find(([, mountPoint, type]) => type === "vfat" && mountPoint?.startsWith("/boot"))?.[1];
  return stated ?? (root.isDirectory("/boot/firmware") ? "/boot/firmware" : "/boot");
}

const NETWORK_MANAGERS: readonly { name: NetworkManager; path: string }[] = [
  { name: "networkmanager", path: "/usr/sbin/NetworkManager" },
  { name: "dhcpcd", path: "/etc/dhcpcd.conf" },
  { name: "systemd-networkd", path: "/usr/lib/systemd/systemd-networkd" },
  { name: "systemd-networkd", path: "/lib/systemd/systemd-networkd" },
  { name: "ifupdown", path: "/sbin/ifup" },
  { name: "netplan", path: "/etc/netplan" },
];

function readNetworkManagers(root: ImageFiles): NetworkManager[] {
  return [...new Set(NETWORK_MANAGERS.filter(({ path }) => root.exists(path)).map(({ name }) => name))];
}

function readSshServer(root: ImageFiles): ImageFacts["sshServer"] {
  if (root.exists("/usr/sbin/sshd")) return "openssh";
  return root.exists("/usr/sbin/dropbear") ? "dropbear" : "none";
}
