/**
 * OS images for tests: Debian laid out for Raspberry Pis, and the same laid out as Raspberry Pi OS bookworm and trixie
 * lay out theirs, with a kernel that mounts an NFS root by itself. Made once, kept in .cache/.
 *
 * The Debian image and the kernel come from `../shared/images` beside the checkout, where that is present.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { requireTools } from "./required-tools.ts";

const SHARED = resolve(import.meta.dirname, "../../../shared/images");
const CACHE = resolve(import.meta.dirname, "../../.cache/images");
const DEBIAN = join(SHARED, "debian-12-pi-arm64.img.xz");
const KERNEL = join(SHARED, "kernel8-rootnfs-arm64.img");
const KERNEL_CONFIG = join(SHARED, "kernel8-rootnfs-arm64.config");
const DOCKER_INSTALLER = join(import.meta.dirname, "docker-image.mjs");
const KERNEL_RELEASE = "6.1.192-bramble-test";
const BOOT_OFFSET = "4M";
/** Byte offset of the ext4 partition, as debugfs takes it. */
const ROOT_OFFSET = 260 * 1024 * 1024;

/** Whether tests with these images must be skipped: says so on a laptop, throws in CI. */
export function missingImages(): boolean {
  const missing = [DEBIAN, KERNEL, KERNEL_CONFIG].filter((path) => !existsSync(path));
  if (missing.length === 0) return requireTools(["xz", "mcopy", "mdel", "debugfs", "cp"]);
  const reason = `Cannot run this test: ${missing.join(", ")} not found`;
  if (process.env.CI) throw new Error(reason);
  console.warn(`${reason}; skipped`);
  return true;
}

/** Debian 12 with its own kernel, which needs its initramfs for an NFS root. */
export function debianImage(): string {
  return cached("debian", "1", (path) => {
    const out = openSync(path, "w");
    const sparse = ["sh", "-c", 'xz -dc -T0 "$0" | dd conv=sparse bs=1M of="$1" status=none', DEBIAN, path];
    execFileSync(sparse[0]!, sparse.slice(1));
    closeSync(out);
  });
}

/** Debian 12 with its docker.io, whose packages come from Debian's archive. Only root can make it. */
export function dockerImage(): string {
  return cached("debian-docker", readFileSync(DOCKER_INSTALLER, "utf8"), (path, folder) => {
    execFileSync("cp", ["--sparse=always", "--reflink=auto", debianImage(), path]);
    const words = [DOCKER_INSTALLER, path, String(ROOT_OFFSET), join(folder, "packages")];
    execFileSync(process.execPath, words, { stdio: ["ignore", "ignore", "inherit"] });
  });
}

/** As Raspberry Pi OS bookworm: resized and set up on first boot by an `init=` on the command line. */
export function bookwormLikeImage(): string {
  return raspberryPiOsLikeImage("bookworm", `${COMMAND_LINE} quiet init=${FIRST_BOOT_PROGRAM}`);
}

/** As Raspberry Pi OS trixie: a unit that looks for the word `resize` on the command line. */
export function trixieLikeImage(): string {
  return raspberryPiOsLikeImage("trixie", `${COMMAND_LINE} resize`);
}

const COMMAND_LINE =
  "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait";
const FIRST_BOOT_PROGRAM = "/usr/lib/raspberrypi-sys-mods/firstboot";
/** What must not be seen on a node's console: first-boot programs look for a partition under `/`. */
export const FIRST_BOOT_MARK = "BRAMBLE-TEST: first boot ran";
const FIRST_BOOT_SCRIPT = `#!/bin/sh\necho "${FIRST_BOOT_MARK}" > /dev/kmsg\nexec /sbin/init\n`;
const RESIZE_UNIT = `[Unit]
Description=Resize the root partition
ConditionKernelCommandLine=resize

[Service]
Type=oneshot
ExecStart=${FIRST_BOOT_PROGRAM}
`;

const CONFIG_TXT = `# The settings of Raspberry Pi OS that a network boot meets
dtparam=audio=on
auto_initramfs=1
dtoverlay=vc4-kms-v3d
disable_fw_kms_setup=1
arm_64bit=1
arm_boost=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
`;

function raspberryPiOsLikeImage(release: "bookworm" | "trixie", commandLine: string): string {
  const recipe = [release, commandLine, CONFIG_TXT, FIRST_BOOT_SCRIPT, RESIZE_UNIT].join("\n");
  return cached(`raspios-${release}`, recipe, (path, folder) => {
    execFileSync("cp", ["--sparse=always", "--reflink=auto", debianImage(), path]);
    const file = (name: string, content: string) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const mtools = (program: string, ...words: string[]) =>
      execFileSync(program, ["-i", `${path}@@${BOOT_OFFSET}`, ...words], {
        env: { ...process.env, MTOOLS_SKIP_CHECK: "1" },
      });
    mtools("mdel", "::vmlinuz-*", "::initrd.img-*");
    mtools("mcopy", "-o", KERNEL, "::kernel8.img");
    mtools("mcopy", "-o", file("config.txt", CONFIG_TXT), "::config.txt");
    mtools("mcopy", "-o", file("cmdline.txt", `${commandLine}\n`), "::cmdline.txt");

    const unit = "/usr/lib/systemd/system/rpi-resize.service";
    const script = [
      ...install(KERNEL_CONFIG, `/boot/config-${KERNEL_RELEASE}`, "0100644"),
      "mkdir /usr/lib/raspberrypi-sys-mods",
      ...install(file("firstboot", FIRST_BOOT_SCRIPT), FIRST_BOOT_PROGRAM, "0100755"),
      ...(release === "trixie" ? install(file("unit", RESIZE_UNIT), unit, "0100644") : []),
      ...(release === "trixie" ? [`symlink /etc/systemd/system/sysinit.target.wants/rpi-resize.service ${unit}`] : []),
    ];
    writeRoot(path, file("script", `${script.join("\n")}\n`));
  });
}

/** A file of an image's root file system; `path` is as the image has it. */
export function copyOutOfRoot(image: string, path: string, target: string): void {
  execFileSync("debugfs", ["-R", `dump ${path} ${target}`, `${image}?offset=${ROOT_OFFSET}`], { stdio: "ignore" });
}

/** debugfs commands that put a file in place, owned by root. */
function install(source: string, target: string, mode: string): string[] {
  return [`write ${source} ${target}`, `sif ${target} mode ${mode}`, `sif ${target} uid 0`, `sif ${target} gid 0`];
}

/** debugfs goes on after an error and exits with 0: whatever it complains about is an error here. */
function writeRoot(image: string, scriptPath: string): void {
  const output = execFileSync(
    "sh",
    ["-c", 'debugfs -w -f "$1" "$0?offset=$2" 2>&1', image, scriptPath, String(ROOT_OFFSET)],
    {
      encoding: "utf8",
    },
  );
  const complaints = output.split("\n").filter((line) => !/^(debugfs[ :]|Allocated inode|$)/.test(line));
  if (complaints.length > 0) throw new Error(`Cannot make ${image}: debugfs: ${complaints.join("; ")}`);
}

/** The image `name` made by this recipe, made now if it is not there. Two test runs at once do not disturb each other. */
function cached(name: string, recipe: string, make: (path: string, folder: string) => void): string {
  const path = join(CACHE, `${name}-${createHash("sha256").update(recipe).digest("hex").slice(0, 8)}.img`);
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, "making-"));
  try {
    make(join(folder, "image"), folder);
    renameSync(join(folder, "image"), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}
