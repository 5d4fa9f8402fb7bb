/**
 * The Linux kernel's own NFS client against our server: Debian's cloud kernel in QEMU (without KVM), whose init
 * mounts a volume that lives in this process's memory, works on it, and says on its console how that went. Every
 * third answer of the volume comes late, and the server is restarted while the client writes 20 MB.
 *
 * Needs qemu-system-x86_64, cpio, apt-get, dpkg-deb and the network once (packages are kept in .cache/).
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import type { FileName } from "../../src/bytes/file-name.ts";
import { MemoryVolume } from "../../src/nfs/memory-volume.ts";
import { createNfsService, type NfsService } from "../../src/nfs/server.ts";
import type { Volume } from "../../src/nfs/volume.ts";
import type { TcpListener } from "../../src/ports.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { requireTools } from "./required-tools.ts";

const CACHE = resolve(import.meta.dirname, "../../.cache/nfs-kernel-client");
const MODULES = ["virtio_pci", "virtio_net", "nfsv3"];
const BOOT_TIMEOUT_MS = 300_000;
const LISTED_FILES = 3000;
const BIG_FILE_BYTES = 20 * 1024 * 1024;

/** Each line is a check: a name, then shell that must succeed. Runs in the mounted volume as root. */
const CHECKS = `
mkdir             mkdir -p a/b/c && test -d a/b/c
write             echo hello > a/file && test "$(cat a/file)" = hello
append            echo world >> a/file && test $(wc -c < a/file) = 12
overwrite         printf HE | dd of=a/file conv=notrunc 2>/dev/null && test "$(head -1 a/file)" = HEllo
truncate          echo x > a/short && truncate -s 100000 a/short && truncate -s 3 a/short && test $(wc -c < a/short) = 3
rename            mv a/file a/b/moved && test ! -e a/file && test -e a/b/moved
rename-over       echo new > a/new && mv a/new a/b/moved && test "$(cat a/b/moved)" = new
rename-directory  mv a/b a/d && test -d a/d/c && test "$(cat a/d/../d/moved)" = new
hard-link         ln a/d/moved a/linked && test $(stat -c %h a/linked) = 2 && rm a/d/moved && test "$(cat a/linked)" = new
symlink           ln -s ../a/linked a/soft && test "$(readlink a/soft)" = ../a/linked && test "$(cat a/soft)" = new
device            mknod a/null c 1 3 && echo x > a/null && test "$(stat -c %t:%T a/null)" = 1:3
fifo              mkfifo a/pipe && test -p a/pipe
chmod             chmod 4751 a/linked && test $(stat -c %a a/linked) = 4751
chown             chown 1000:1001 a/linked && test "$(stat -c %u:%g a/linked)" = 1000:1001 && test $(stat -c %a a/linked) = 751
touch             touch -d '2001-02-03 04:05:06' a/linked && test $(stat -c %Y a/linked) = 981173106
user              test "$(as_user id -u)" = 1000
no-permission     chmod 600 a/short && ! as_user cat a/short && chmod 644 a/short && as_user cat a/short | grep -q x
sticky            mkdir -m 1777 tmp && touch tmp/roots && ! as_user rm -f tmp/roots && test -e tmp/roots && as_user 'touch tmp/own && rm tmp/own'
set-gid-directory mkdir g && chown 0:50 g && chmod 2775 g && touch g/f && mkdir g/s && test "$(stat -c %g:%a g/s)" = 50:2755 && test $(stat -c %g g/f) = 50
open-then-remove  exec 3<>a/ghost && echo boo >&3 && rm a/ghost && echo boo >&3 && exec 3>&-
write-unwritable  as_user '(umask 0777; echo mine > tmp/locked); chmod 400 tmp/locked; cat tmp/locked' | grep -q mine
set-id-cleared    echo x > tmp/s && chmod 6777 tmp/s && as_user 'echo y >> tmp/s' && test $(stat -c %a tmp/s) = 777
many-files        mkdir many && cd many && seq ${LISTED_FILES} | xargs touch && cd ..
list-cold         echo 3 > /proc/sys/vm/drop_caches; test $(ls many | sort -u | wc -l) = ${LISTED_FILES}
list-attributes   test $(ls -lR many | grep -c '^-rw-r--r--') = ${LISTED_FILES}
long-name         touch $(printf '%0255d' 7) && ls | grep -q '^0*7$' && ! touch $(printf '%0256d' 7) 2>/dev/null
not-empty         ! rmdir many 2>/dev/null
remove-tree       rm -r many && test ! -e many
big-write         dd if=/big of=big bs=1M 2>/dev/null && sync
big-read          echo 3 > /proc/sys/vm/drop_caches; test "$(md5sum < big)" = "$(md5sum < /big)"
sparse            dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null && test $(wc -c < sparse) = 5000001
space             df . | grep -q /mnt
bytes-in-names    touch "$(printf 'caf\\303\\251 \\377')" && ls | grep -q caf
`;

const missing = requireTools(["qemu-system-x86_64", "apt-get", "dpkg-deb", "cpio"]);

describe.skipIf(missing)("the Linux kernel's NFS client", () => {
  const volume = new MemoryVolume({ nowNs: () => BigInt(Date.now()) * 1_000_000n });
  const served = everyThirdLater(volume);
  const observations: string[] = [];
  let listener: TcpListener;
  let service: NfsService;
  let starts = 0;
  let work: string;
  let output = "";

  async function start(port: number): Promise<void> {
    service = createNfsService({
      exports: {
        find: (path) =>
          path === "/tree" ? { treeId: 7, volume: served } : { refused: "NOENT", reason: "no such tree" },
        volume: (treeId) => (treeId === 7 ? served : undefined),
        list: () => ["/tree"],
      },
      handleKey: new Uint8Array(16).fill(7),
      writeVerifier: new Uint8Array(8).fill(++starts),
      observe: (observation) => observations.push(observation.kind),
      portMappings: () => [],
    });
    listener = await nodeTcpListeners.listen({ address: parseIpv4("127.0.0.1"), port }, (connection) =>
      service.serveConnection(connection),
    );
  }

  beforeAll(async () => {
    await start(0);
    const port = listener.localPort;
    const watch = setInterval(() => {
      if (service.counters(7).writtenBytes < BIG_FILE_BYTES / 4) return;
      clearInterval(watch);
      void listener.close().then(() => start(port));
    }, 1);
    work = mkdtempSync(join(tmpdir(), "nfs-kernel-"));
    output = await boot(work, port);
    clearInterval(watch); // still there if the client never wrote that much
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await listener?.close();
    if (work) rmSync(work, { recursive: true });
  });

  it("mounts, works and powers off, through a restart of the server", () => {
    expect(starts).toBe(2);
    expect(output).toContain("mounted");
    expect(output).toContain("all checks were run");
    expect(observations.filter((kind) => kind !== "mount" && kind !== "unmount")).toEqual([]);
  });

  it.each(
    CHECKS.trim()
      .split("\n")
      .map((line) => line.split(/\s+/)[0] ?? ""),
  )("finds %s right", (name) => {
    expect(output.split("\n")).toContain(`passed: ${name}`);
  });

  it("leaves in the volume what it says it wrote", () => {
    const id = volume.lookup(volume.rootId, "big" as FileName) ?? 0;
    const { bytes } = volume.read(id, 0, BIG_FILE_BYTES + 1);
    expect(createHash("md5").update(bytes).digest("hex")).toBe(bigFile().md5);
    const names = volume.readdir(volume.rootId, 0n, 1000).entries.map((entry) => entry.name);
    expect(names).toContain("caf\u00c3\u00a9 \u00ff");
    expect(volume.lookup(volume.rootId, "many" as FileName)).toBeUndefined();
  });
});

/** The volume with every third answer a promise that takes a turn of the event loop. */
function everyThirdLater(volume: MemoryVolume): Volume {
  let calls = 0;
  return new Proxy(volume, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const answer = () => value.apply(target, args);
        if (++calls % 3 !== 0) return answer();
        return new Promise((resolve) => setImmediate(resolve)).then(answer);
      };
    },
  });
}

/** Contents that are no repetition, so that a block in the wrong place shows. */
function bigFile(): { bytes: Uint8Array; md5: string } {
  const words = new Uint32Array(BIG_FILE_BYTES / 4);
  for (let index = 0, value = 1; index < words.length; index++) words[index] = value = Math.imul(value, 1664525) + 1;
  const bytes = new Uint8Array(words.buffer);
  return { bytes, md5: createHash("md5").update(bytes).digest("hex") };
}

/** Unpacks a package's files into the cache, downloading it the first time. */
function unpackPackage(name: string): string {
  const folder = join(CACHE, name);
  if (!existsSync(folder)) {
    mkdirSync(CACHE, { recursive: true });
    execFileSync("apt-get", ["download", name], { cwd: CACHE, stdio: "ignore" });
    const archive = readdirSync(CACHE).find((file) => file.startsWith(`${name}_`));
    execFileSync("dpkg-deb", ["-x", join(CACHE, archive ?? ""), `${folder}.part`]);
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
  for (const entry of readdirSync(join(kernel, "lib/modules"), { recursive: true, encoding: "utf8" })) {
    const name = /([^/]+)\.ko$/.exec(entry)?.[1];
    if (name) all.set(name.replaceAll("-", "_"), join(kernel, "lib/modules", entry));
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

function initScript(port: number, modules: number): string {
  const checks = CHECKS.trim().split("\n");
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
  .map((line) => {
    const [, name, command] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    return `if { ${command}; }; then echo "passed: ${name}"; else echo "FAILED: ${name}"; cd /mnt; fi`;
  })
  .join("\n")}
cd /; umount /mnt; echo "all checks were run"
sync; poweroff -f
`;
}

/** Boots the virtual machine and returns its console's text. */
async function boot(work: string, port: number): Promise<string> {
  const kernel = unpackPackage(kernelPackage());
  const busybox = unpackPackage("busybox-static");
  const root = join(work, "root");
  for (const folder of ["bin", "proc", "sys", "dev", "mnt", "modules", "etc"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  execFileSync("cp", [join(busybox, "bin/busybox"), join(root, "bin/busybox")]);
  const modules = moduleOrder(kernel, MODULES);
  modules.forEach((path, index) => {
    execFileSync("cp", [path, join(root, `modules/${index}.ko`)]);
  });
  writeFileSync(join(root, "etc/protocols"), "ip 0 IP\ntcp 6 TCP\nudp 17 UDP\n");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\nu1000:x:1000:1000::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nu1000:x:1000:\n");
  writeFileSync(join(root, "big"), bigFile().bytes);
  writeFileSync(join(root, "init"), initScript(port, modules.length), { mode: 0o755 });
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
  const deadline = setTimeout(() => machine.kill(), BOOT_TIMEOUT_MS - 10_000);
  await new Promise((done) => machine.once("exit", done));
  clearTimeout(deadline);
  return console.replaceAll("\r", "");
}
