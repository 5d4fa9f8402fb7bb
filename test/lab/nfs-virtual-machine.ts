/**
 * A virtual machine (QEMU without KVM) with Debian's cloud kernel, whose init mounts `10.0.2.2:/tree` by NFS, runs
 * shell checks in it, and says on its console how they went. Packages come from Debian and are kept in .cache/.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const CACHE = resolve(import.meta.dirname, "../../.cache/nfs-kernel-client");
const MODULES = ["virtio_pci", "virtio_net", "nfsv3"];
export const MISSION_TIMEOUT_MS = 300_000;
export const MISSION_TOOLS = ["qemu-system-x86_64", "apt-get", "dpkg-deb", "cpio", "xz"];

export interface Mission {
  /** Where on this machine's loopback NFS and MOUNT are served. */
  port: number;
  /** Shell that must succeed, run in order as root in the mounted directory. */
  checks: readonly { name: string; command: string }[];
  /** Contents of the file /big in the machine. */
  big: Uint8Array;
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

function initScript({ port, checks }: Mission, modules: number): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for number in $(seq 0 ${modules - 1}); do insmod /modules/$number.ko || echo "cannot load module $number"; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
as_user() { su -s /bin/sh u1000 -c "$*"; }
mount -t nfs -o vers=3,proto=tcp,mountproto=tcp,nolock,port=${port},mountport=${port},addr=10.0.2.2,mountaddr=10.0.2.2 \\
  10.0.2.2:/tree /mnt && echo mounted && grep /mnt /proc/mounts
cd /mnt
${checks
  .map(({ name, command }) => {
    return `if { ${command}; }; then echo "passed: ${name}"; else echo "FAILED: ${name}"; cd /mnt; fi`;
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
  const modules = moduleOrder(kernel, MODULES);
  modules.forEach((path, index) => {
    execFileSync("cp", [path, join(root, `modules/${index}.ko`)]);
  });
  writeFileSync(join(root, "etc/protocols"), "ip 0 IP\ntcp 6 TCP\nudp 17 UDP\n");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\nu1000:x:1000:1000::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nu1000:x:1000:\n");
  writeFileSync(join(root, "big"), mission.big);
  writeFileSync(join(root, "init"), initScript(mission, modules.length), { mode: 0o755 });
  const initrd = join(work, "initrd");
  execFileSync("sh", ["-c", `cd '${root}' && find . | cpio -o -H newc --quiet > '${initrd}'`]);
  const image = readdirSync(join(kernel, "boot")).find((name) => name.startsWith("vmlinuz")) ?? "";

  const machine = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-monitor", "none", "-serial", "stdio"],
      ...["-kernel", join(kernel, "boot", image), "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1"],
      ...["-netdev", "user,id=lan", "-device", "virtio-net-pci,netdev=lan"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let console = "";
  machine.stdout.on("data", (bytes) => {
    console += bytes;
  });
  const deadline = setTimeout(() => machine.kill(), MISSION_TIMEOUT_MS - 10_000);
  await new Promise((done) => machine.once("exit", done));
  clearTimeout(deadline);
  return console.replaceAll("\r", "");
}
