// Builds the demo image: a card image as a Raspberry Pi has it (MBR, FAT boot partition, ext4 root), small, from Debian's
// own packages: the Pi's firmware, the arm64 kernel, busybox. Nothing is installed and no privilege is needed.
//
//   node tools/demo-image.mjs [--output FILE] [--cache FOLDER] [--release CODENAME] [--refresh]
//
// Needs e2fsprogs, dosfstools, mtools, util-linux and dpkg. Prints the path of the image. An image that is newer than this program
// and its packages is left as it is.
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { downloadPackages } from "./demo-image/debian-archive.mjs";
import { run, writeDiskImage } from "./demo-image/disk-image.mjs";
import { collectModules, cpioArchive } from "./demo-image/initramfs.mjs";

const PARTS = join(import.meta.dirname, "demo-image");
const PACKAGES = ["raspi-firmware", "linux-image-arm64", "busybox-static"];
/** NFS, and the network cards of the virtual Pi and of real ones. */
const REQUIRED_MODULES = ["virtio_pci", "virtio_net", "nfsv3"];
const BOARD_MODULES = [
  "af_packet",
  "virtio_mmio",
  "genet",
  "mdio_bcm_unimac",
  "broadcom",
  "dwc2",
  "smsc95xx",
  "lan78xx",
  "macb",
];

/** Set in the environment of the run that may work in the cache. */
const LOCK_HELD = "BRAMBLE_DEMO_IMAGE_LOCK_HELD";

const { values: options } = parseArgs({
  options: {
    output: { type: "string", default: ".cache/bramble-demo.img" },
    cache: { type: "string", default: ".cache/debian" },
    release: { type: "string" },
    refresh: { type: "boolean", default: false },
  },
});

function checkPrograms() {
  const needed = {
    mke2fs: "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    mcopy: "mtools",
    "dpkg-deb": "dpkg",
    xz: "xz-utils",
    tar: "tar",
  };
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(":");
  process.env.PATH = folders.join(":");
  const missing = Object.keys(needed).filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => needed[name]))].join(" ");
  throw new Error(`Cannot build the demo image: ${missing.join(", ")} not found; run "apt-get install ${packages}"`);
}

/** Of the kernel package (350 MB unpacked) only the kernel, the device trees and the modules that can matter. */
function unpack(packages, folder) {
  for (const [name, path] of Object.entries(packages)) {
    const wanted = name.startsWith("linux-image")
      ? [
          "--wildcards",
          "./boot/*",
          "*/broadcom/*.dtb",
          "*/modules.builtin",
          "*/kernel/fs/*",
          "*/kernel/net/*",
          "*/kernel/drivers/net/*",
          "*/kernel/drivers/virtio/*",
          "*/kernel/drivers/usb/*",
          "*/kernel/lib/*",
        ]
      : [];
    mkdirSync(join(folder, name), { recursive: true });
    const tar = join(folder, `${name}.tar`);
    const out = openSync(tar, "w");
    execFileSync("dpkg-deb", ["--fsys-tarfile", path], { stdio: ["ignore", out, "inherit"] });
    closeSync(out);
    run("tar", "-xf", tar, "-C", join(folder, name), ...wanted);
    rmSync(tar);
  }
  const kernel = join(folder, "linux-image-arm64");
  const modules = ["lib/modules", "usr/lib/modules"].map((path) => join(kernel, path)).find(existsSync);
  const release = readdirSync(modules)[0];
  const busybox = ["bin/busybox", "usr/bin/busybox"]
    .map((path) => join(folder, "busybox-static", path))
    .find(existsSync);
  return {
    release,
    kernel: join(kernel, "boot", `vmlinuz-${release}`),
    configuration: join(kernel, "boot", `config-${release}`),
    modules: join(modules, release),
    deviceTrees: join(kernel, "usr/lib", `linux-image-${release}`, "broadcom"),
    firmware: join(folder, "raspi-firmware/usr/lib/raspi-firmware"),
    busybox,
  };
}

/** busybox holds the names of its applets, sorted, one behind the other; it cannot be run here to list them. */
function appletNames(busybox) {
  const text = busybox.toString("latin1");
  const start = text.indexOf("[\0[[\0");
  if (start < 0) throw new Error("Cannot build the demo image: the busybox program has no list of applets");
  const names = [];
  for (let at = start; ; at += names.at(-1).length + 1) {
    const name = text.slice(at, text.indexOf("\0", at));
    if (!/^[\w[.-]+$/.test(name) || name <= (names.at(-1) ?? "")) return names.filter((applet) => applet !== "busybox");
    names.push(name);
  }
}

function buildInitramfs(system) {
  const modules = collectModules(system.modules, REQUIRED_MODULES, BOARD_MODULES);
  const directories = ["bin", "dev", "etc", "lib", "lib/modules"].map((path) => ({ path, kind: "directory" }));
  return cpioArchive([
    ...directories,
    { path: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
    { path: "bin/busybox", kind: "file", content: readFileSync(system.busybox) },
    { path: "init", kind: "file", content: readFileSync(join(PARTS, "init.sh")) },
    { path: "etc/udhcpc.sh", kind: "file", content: readFileSync(join(PARTS, "udhcpc.sh")) },
    { path: "lib/modules/order", kind: "file", mode: 0o644, content: modules.map(({ name }) => `${name}\n`).join("") },
    ...modules.map(({ name, content }) => ({ path: `lib/modules/${name}.ko`, kind: "file", mode: 0o644, content })),
  ]);
}

function buildBoot(system, folder) {
  mkdirSync(folder, { recursive: true });
  const put = (name, content) => writeFileSync(join(folder, name), content);
  cpSync(system.firmware, folder, { recursive: true });
  for (const name of readdirSync(system.deviceTrees)) {
    if (/^bcm(27|28)/.test(name)) cpSync(join(system.deviceTrees, name), join(folder, name));
  }
  const kernel = `vmlinuz-${system.release}`;
  const initramfs = `initrd.img-${system.release}`;
  cpSync(system.kernel, join(folder, kernel));
  put(initramfs, buildInitramfs(system));
  put(
    "config.txt",
    `arm_64bit=1\nenable_uart=1\nupstream_kernel=1\nkernel=${kernel}\ninitramfs ${initramfs} followkernel\n`,
  );
  put("cmdline.txt", "console=tty1 console=serial0,115200 root=LABEL=rootfs rootfstype=ext4 rootwait net.ifnames=0\n");
}

function buildRoot(system, folder, debianRelease) {
  const directories = [
    "boot/firmware",
    "dev",
    "etc/init.d",
    "home",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "var/lib",
    "var/log",
  ];
  for (const path of directories) mkdirSync(join(folder, path), { recursive: true });
  for (const [link, target] of Object.entries({ bin: "usr/bin", sbin: "usr/bin", lib: "usr/lib", "usr/sbin": "bin" })) {
    symlinkSync(target, join(folder, link));
  }
  cpSync(system.busybox, join(folder, "usr/bin/busybox"));
  for (const name of appletNames(readFileSync(system.busybox))) symlinkSync("busybox", join(folder, "usr/bin", name));
  cpSync(system.configuration, join(folder, "boot", `config-${system.release}`));

  const put = (path, content, mode = 0o644) => writeFileSync(join(folder, path), content, { mode });
  for (const name of ["rcS", "console-login"]) put(`etc/init.d/${name}`, readFileSync(join(PARTS, name)), 0o755);
  put("etc/inittab", readFileSync(join(PARTS, "inittab")));
  put("etc/hostname", "bramble-demo\n");
  put("etc/hosts", "127.0.0.1\tlocalhost\n");
  put("etc/fstab", "LABEL=rootfs / ext4 defaults 0 1\n");
  put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  put("etc/group", "root:x:0:\nnogroup:x:65534:\n");
  // No password: the demo has a console and nothing that listens.
  put("etc/shadow", "root::19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", 0o600);
  put(
    "etc/os-release",
    `PRETTY_NAME="Bramble demo"\nNAME="Bramble demo"\nID=bramble-demo\nVERSION_ID="1"\nVERSION_CODENAME=${debianRelease}\n`,
  );
}

function build(output, packages, debianRelease) {
  const folder = mkdtempSync(join(tmpdir(), "bramble-demo-"));
  try {
    const system = unpack(packages, join(folder, "packages"));
    buildBoot(system, join(folder, "boot"));
    buildRoot(system, join(folder, "root"), debianRelease);
    writeDiskImage(output, join(folder, "boot"), join(folder, "root"), folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isUpToDate(output, packages) {
  if (!existsSync(output)) return false;
  const programs = [import.meta.filename, ...readdirSync(PARTS).map((name) => join(PARTS, name))];
  const builtMs = statSync(output).mtimeMs;
  return [...programs, ...Object.values(packages)].every((path) => statSync(path).mtimeMs < builtMs);
}

/** Runs this program again while no other run works in the cache: tests that start together want the same image. */
function runAlone(cache) {
  mkdirSync(cache, { recursive: true });
  const words = ["--no-fork", cache, process.execPath, ...process.argv.slice(1)];
  const { status, error } = spawnSync("flock", words, { stdio: "inherit", env: { ...process.env, [LOCK_HELD]: "1" } });
  if (error) throw new Error(`Cannot build the demo image: flock: ${error.message}; is util-linux installed?`);
  process.exit(status ?? 1);
}

try {
  if (!process.env[LOCK_HELD]) runAlone(resolve(options.cache));
  // What the builder keeps from others must not be kept from the node's users.
  process.umask(0o022);
  checkPrograms();
  const output = resolve(options.output);
  const cache = resolve(options.cache);
  mkdirSync(dirname(output), { recursive: true });
  const log = (text) => console.error(`demo image: ${text}`);
  const { release, refresh } = options;
  const packages = downloadPackages(cache, PACKAGES, { ...(release && { release }), refresh, log });
  if (refresh || !isUpToDate(output, packages)) {
    log("building");
    build(output, packages, dirname(packages["busybox-static"]).split("/").pop());
  }
  console.log(output);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
