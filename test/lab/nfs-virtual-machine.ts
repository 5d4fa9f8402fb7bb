/**
 * A virtual machine (QEMU without KVM) with Debian's cloud kernel, whose init mounts `10.0.2.2:/tree` by NFS, runs
 * shell checks in it, and says on its console how they went and how long they took. Packages come from Debian and are
 * kept in .cache/.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const CACHE = resolve(import.meta.dirname, "../../.cache/nfs-kernel-client");
const MODULES = ["virtio_pci", "virtio_net", "nfsv3"];
export const MISSION_TIMEOUT_MS = 300_000;
export const MISSION_TOOLS = ["qemu-system-x86_64", "apt-get", "dpkg-deb", "cpio", "xz"];

export interface Mission {
  /** Where NFS is served: on this machine's loopback, or with `tap` at 10.0.2.2 of that network. */
  port: number;
  /** Where MOUNT is served, if not there too. */
  mountPort?: number;
  /** What to mount, if not /tree. */
  path?: string;
  /** An interface of this machine that the virtual one is connected to, as 10.0.2.15, if not to its loopback. */
  tap?: string;
  /** Shell that must succeed, run in order as root in the mounted directory. */
  checks: readonly { name: string; command: string }[];
  /** Contents of the file /big in the machine. */
  big?: Uint8Array;
  /** Programs of this machine to put into /bin of the virtual one, by name: they need no library. */
  programs?: Record<string, string>;
  /** Modules of the kernel beyond those for NFS. */
  modules?: readonly string[];
  /** Files of this machine that are disks of the virtual one, /dev/vda first. */
  disks?: readonly string[];
  /** Shell that is run before the checks. */
  prepare?: string;
  /** What the machine's clock tells when it starts, if not this machine's time. */
  startsAt?: string;
  memoryMiB?: number;
  processors?: number;
  timeoutMs?: number;
  /** Called with each line of the console, and with what types on it. */
  onLine?: (line: string, type: (text: string) => void) => void;
}

/** Unpacks a package's files into the cache, downloading it the first time. */
function unpackPackage(name: string): string {
  const folder = join(CACHE, name);
  if (!existsSync(folder)) {
    mkdirSync(CACHE, { recursive: true });
    execFileSync("apt-get", ["download", name], { cwd: CACHE, stdio: "ignore" });
    const archive = readdirSync(CACHE).find((file) => file.startsWith(`${name}_`));
    execFileSync("dpkg-deb", ["-x", join(CACHE, archive ?? ""), `${folder}.part`]);
    // Since Debian 13 modules are compressed, which busybox cannot load.
    execFileSync("find", [`${folder}.part`, "-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+"]);
    execFileSync("mv", [`${folder}.part`, folder]);
    rmSync(join(CACHE, archive ?? ""));
  }
  return folder;
}

function kernelPackage(): string {
  const { stdout } = spawnSync("apt-cache", ["depends", "linux-image-cloud-amd64"], { encoding: "utf8" });
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error("Cannot find a kernel: linux-image-cloud-amd64 is not in apt's lists");
  return name;
}

/** Paths of the modules and all they need, in the order to load them. A module names its needs in `.modinfo`. */
function moduleOrder(kernel: string, wanted: readonly string[]): string[] {
  const all = new Map<string, string>();
  const folder = present(kernel, "lib/modules");
  for (const entry of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const name = /([^/]+)\.ko$/.exec(entry)?.[1];
    if (name) all.set(name.replaceAll("-", "_"), join(folder, entry));
  }
  const order: string[] = [];
  const add = (name: string) => {
    const path = all.get(name);
    if (path === undefined || order.includes(path)) return;
    const needs = /\0depends=([^\0]*)/.exec(readFileSync(path, "latin1"))?.[1] ?? "";
    for (const need of needs.split(",").filter(Boolean)) add(need.replaceAll("-", "_"));
    order.push(path);
  };
  for (const name of wanted) add(name);
  return order;
}

/** Debian 13 has moved the last of its packages' files below /usr. */
function present(folder: string, path: string): string {
  const found = [join(folder, path), join(folder, "usr", path)].find(existsSync);
  if (found === undefined) throw new Error(`Cannot find ${path} in ${folder}`);
  return found;
}

function initScript(mission: Mission, modules: number): string {
  const { port, mountPort = port, path = "/tree", checks, prepare = "" } = mission;
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for number in $(seq 0 ${modules - 1}); do insmod /modules/$number.ko || echo "cannot load module $number"; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
as_user() { su -s /bin/sh u1000 -c "$*"; }
mount -t nfs -o vers=3,proto=tcp,mountproto=tcp,nolock,port=${port},mountport=${mountPort},addr=10.0.2.2,mountaddr=10.0.2.2 \\
  10.0.2.2:${path} /mnt && echo mounted && grep /mnt /proc/mounts
cd /mnt
${prepare}
${checks
  .map(({ name, command }) => {
    const took = `$((\${now%.*} - \${start%.*}))`;
    return `read start _ < /proc/uptime
if { ${command}; }; then echo "passed: ${name}"; else echo "FAILED: ${name}"; cd /mnt; fi
read now _ < /proc/uptime; echo "took ${took} s: ${name}"`;
  })
  .join("\n")}
cd /; umount /mnt; echo "all checks were run"
sync; poweroff -f
`;
}

/** Boots the virtual machine, which powers itself off, and returns its console's text. `work` is an empty folder. */
export async function runMission(work: string, mission: Mission): Promise<string> {
  const kernel = unpackPackage(kernelPackage());
  const busybox = unpackPackage("busybox-static");
  const root = join(work, "root");
  for (const folder of ["bin", "proc", "sys", "dev", "mnt", "modules", "etc"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  execFileSync("cp", [present(busybox, "bin/busybox"), join(root, "bin/busybox")]);
  const modules = moduleOrder(kernel, [...MODULES, ...(mission.modules ?? [])]);
  modules.forEach((path, index) => {
    execFileSync("cp", [path, join(root, `modules/${index}.ko`)]);
  });
  writeFileSync(join(root, "etc/protocols"), "ip 0 IP\ntcp 6 TCP\nudp 17 UDP\n");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\nu1000:x:1000:1000::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nu1000:x:1000:\n");
  if (mission.big) writeFileSync(join(root, "big"), mission.big);
  for (const [name, path] of Object.entries(mission.programs ?? {})) {
    execFileSync("cp", [path, join(root, "bin", name)]);
  }
  writeFileSync(join(root, "init"), initScript(mission, modules.length), { mode: 0o755 });
  const initrd = join(work, "initrd");
  execFileSync("sh", ["-c", `cd '${root}' && find . | cpio -o -H newc --quiet > '${initrd}'`]);
  const image = readdirSync(join(kernel, "boot")).find((name) => name.startsWith("vmlinuz")) ?? "";

  const { memoryMiB = 512, processors = 1, timeoutMs = MISSION_TIMEOUT_MS - 10_000 } = mission;
  const network = mission.tap ? `tap,id=lan,ifname=${mission.tap},script=no,downscript=no` : "user,id=lan";
  const machine = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg", "-m", `${memoryMiB}`, "-smp", `${processors}`],
      ...["-nographic", "-no-reboot", "-monitor", "none", "-serial", "stdio"],
      ...(mission.startsAt === undefined ? [] : ["-rtc", `base=${mission.startsAt}`]),
      ...[
        "-kernel",
        join(kernel, "boot", image),
        "-initrd",
        initrd,
        "-append",
        "console=ttyS0 quiet panic=-1 no_timer_check",
      ],
      ...["-netdev", network, "-device", "virtio-net-pci,netdev=lan"],
      ...(mission.disks ?? []).flatMap((path) => ["-drive", `file=${path},format=raw,if=virtio,cache=unsafe`]),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  // A machine that has just ended takes no more input.
  machine.stdin.on("error", () => {});
  const lines: string[] = [];
  createInterface({ input: machine.stdout }).on("line", (line) => {
    lines.push(line);
    mission.onLine?.(line, (text) => machine.stdin.write(text));
  });
  const deadline = setTimeout(() => machine.kill(), timeoutMs);
  await new Promise((done) => machine.once("close", done));
  clearTimeout(deadline);
  return lines.join("\n");
}
