/**
 * Whole boots: virtual Pi 4 firmware, the fetched kernel in QEMU, an NFS root from the image file. What stage A promises
 * to its users, on each kind of image.
 */
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bookwormLikeImage,
  debianImage,
  dockerImage,
  FIRST_BOOT_MARK,
  missingImages,
  trixieLikeImage,
} from "./images.ts";
import { leftToSoak, requireRoot } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const BOOT_TIMEOUT_MS = 400_000;

/** The kernel of the images laid out as Raspberry Pi OS has no modules. */
const BRIDGE = { modules: ["br_netfilter"], sysctl: { "net.bridge.bridge-nf-call-iptables": 0 } };
const NO_BRIDGE = { modules: [], sysctl: {} };

/** Emulated, Docker takes half a minute of both processors to start: once is enough. */
const DOCKER_UNITS = ["docker.service", "docker.socket", "containerd.service", "apparmor.service"];
/** The image with Docker is Debian's own otherwise; only root can make it. */
const HAS_DOCKER = !requireRoot();

interface Wishes {
  /** Of the two nodes. */
  storage: readonly [string, string];
  /** In memory, and swap there. */
  hasLogs: boolean;
  kernel: typeof BRIDGE | typeof NO_BRIDGE;
  hasDocker: boolean;
}

/** What the manifest says of the running system is for all; the second node has words of its own. */
const manifest = (image: string, { storage, hasLogs, hasDocker, kernel }: Wishes) => `cluster: demo
network: { interface: eth0, dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.11, to: 10.77.0.20 } }
image: ${JSON.stringify(image)}
modules: ${JSON.stringify(kernel.modules)}
sysctl: ${JSON.stringify({ ...kernel.sysctl, "vm.swappiness": 7, "net.ipv4.ip_forward": 1 })}
cgroups: memory
${hasLogs ? "logs: { keep: memory, size: 32MiB }\nswap: { kind: zram, size: 128MiB }" : ""}
units:
  enable: [fstrim.timer, getty@tty2.service, mine]
  mask: [${["apt-daily.timer", "e2scrub_reap.service", ...(hasDocker ? DOCKER_UNITS : [])].join(", ")}]
files:
  - path: /etc/systemd/system/mine.service
    content: |
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/bin/true
      [Install]
      WantedBy=multi-user.target
      Alias=my-other.service
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4, storage: ${storage[0]} }
  - name: node2
    mac: "dc:a6:32:00:00:02"
    serial: "10000002"
    model: 4
    storage: ${storage[1]}
    sysctl: { vm.swappiness: 9 }
    cgroups: none
    swap: { kind: none }
    ${hasLogs ? "logs: { keep: none, size: 16MiB }" : ""}
    units: { enable: [apt-daily.timer], mask: [mine] }
`;
const MIB = 1024 * 1024;

const DEVICE = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_stick1";
const NO_STORAGE = "{ kind: none }";
const LOOP = "{ kind: loop, size: 8GiB }";

/** `next`: what `make test` goes on with; a boot takes a minute. What storage needs is modules of Debian's kernel, and built into the one that the other two have. */
const IMAGES = [
  {
    name: "Debian with its initramfs",
    next: "reboot",
    image: HAS_DOCKER ? dockerImage : debianImage,
    hasInitramfs: true,
    hasDocker: HAS_DOCKER,
    storage: [LOOP, `{ kind: disk, device: ${DEVICE} }`],
    hasLogs: true,
    kernel: BRIDGE,
  },
  {
    name: "an image laid out as bookworm, without an initramfs",
    next: "nothing",
    image: bookwormLikeImage,
    hasInitramfs: false,
    hasDocker: false,
    storage: [LOOP, "{ kind: memory, size: 256MiB }"],
    hasLogs: true,
    kernel: NO_BRIDGE,
  },
  {
    name: "an image laid out as trixie, without an initramfs",
    next: "reset",
    image: trixieLikeImage,
    hasInitramfs: false,
    hasDocker: false,
    storage: [NO_STORAGE, NO_STORAGE],
    hasLogs: false,
    kernel: NO_BRIDGE,
  },
] as const;

describe.skipIf(missingImages()).each(IMAGES)("two nodes from $name", ({ image, hasInitramfs, next, ...wishes }) => {
  const { storage, hasLogs, hasDocker, kernel } = wishes;
  const isOnDisk = storage[1].includes("disk");
  let disks: string;
  let disk: { node: string; path: string };
  let cluster: Simulation;

  beforeAll(async () => {
    disks = mkdtempSync(join(tmpdir(), "bramble-disks-"));
    disk = { node: "node2", path: join(disks, "disk.img") };
    writeFileSync(disk.path, "");
    truncateSync(disk.path, 1024 * MIB);
    cluster = new Simulation({ manifest: manifest(image(), wishes), ...(isOnDisk && { disk }) });
    await Promise.all(["node1", "node2"].flatMap((node) => [cluster.waitUp(node), cluster.waitLogin(node)]));
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await cluster.stop();
    rmSync(disks, { recursive: true });
  }, 60_000);

  it("boot each as itself: other host name, machine id and SSH host key", () => {
    const identities = ["node1", "node2"].map((node) =>
      cluster.ssh(node, "hostname; cat /etc/machine-id; cat /etc/ssh/ssh_host_*_key.pub").split("\n"),
    );
    const [first, second] = identities;
    expect(first).toHaveLength(3);
    expect(first![0]).toBe("node1");
    expect(second![0]).toBe("node2");
    expect(first![1]).toMatch(/^[0-9a-f]{32}$/);
    expect(first![1]).not.toBe(second![1]);
    expect(first![2]).not.toBe(second![2]);
  }, 120_000);

  it("are healthy: no failed unit, the boot tree mounted, first-boot programs not run", () => {
    const starts = cluster.events.filter((event) => event.kind === "kernel-start");
    expect(starts.map((event) => event.initramfs)).toEqual([hasInitramfs, hasInitramfs]);
    expect(cluster.ssh("node1", "systemctl --failed --no-legend --plain")).toBe("");
    expect(cluster.ssh("node1", "findmnt -n -o FSTYPE,SOURCE /boot/firmware")).toMatch(
      /^nfs +10\.77\.0\.1:\/bramble\/node1\/boot$/,
    );
    expect(cluster.console("node1")).not.toContain(FIRST_BOOT_MARK);
  }, 120_000);

  it("have the kernel settings, modules and units of the manifest, each node its own over those for all", () => {
    const names = "fstrim.timer getty@tty2.service mine.service apt-daily.timer e2scrub_reap.service";
    const look = `cd /proc/sys; cat vm/swappiness net/ipv4/ip_forward
      for name in ${names}; do echo $(systemctl is-enabled $name; systemctl is-active $name); done
      systemctl show -P Id my-other.service
      echo words: $(grep -o 'cgroup[^ ]*' /proc/cmdline)
      [ ${kernel.modules.length} = 0 ] || cat net/bridge/bridge-nf-call-iptables; ls -d /sys/module/br_netfilter 2>&-; true`;
    const [active, masked] = ["enabled active", "masked inactive"];
    const bridge = kernel === BRIDGE ? ["0", "/sys/module/br_netfilter"] : [];
    // What they do no kernel here can show: they are Raspberry Pi's own.
    const words = "words: cgroup_enable=memory cgroup_memory=1";
    const first = ["7", "1", active, active, active, masked, masked, "mine.service", words, ...bridge];
    const ownUnits = [active, active, masked, active, masked, "my-other.service"];
    const second = ["9", "1", ...ownUnits, "words:", ...bridge];
    expect(cluster.ssh("node1", look).split("\n")).toEqual(first);
    expect(cluster.ssh("node2", look).split("\n")).toEqual(second);
  }, 120_000);

  it("let an ordinary user ping, though the capability of the image's ping does not travel", () => {
    const ping = "ping -c 1 -W 20 10.77.0.1 > /dev/null 2>&1";
    const forbid = "sudo sh -c 'echo 1 0 > /proc/sys/net/ipv4/ping_group_range'";
    const said = cluster.ssh("node1", `id -u; ${ping} && echo answered; ${forbid}; ${ping} || echo refused`);
    expect(said.split("\n")).toEqual(["1000", "answered", "refused"]);
  }, 120_000);

  /** Docker's folder, changed through an overlay; prints what kind of file system it is on, and what was written. */
  const USE_STORAGE = `sudo sh -c 'cd /var/lib/docker && findmnt -n -o FSTYPE -T . && mkdir lower upper work merged &&
    echo image > lower/file && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged &&
    mv merged/file merged/moved && echo container >> merged/moved && sync merged/moved && umount merged && cat upper/moved'`;

  const folders = ["docker", "containerd", "kubelet", "rancher"];
  /** Node 2, after its storage was tried again. */
  const triedAgain = () => {
    cluster.ssh("node2", "sudo systemctl restart bramble-storage; sudo systemctl restart bramble-up");
    return cluster.status().nodes[1];
  };

  it.skipIf(storage[0] === NO_STORAGE)(
    "keep containers where overlays work, seen by the manager",
    () => {
      expect(cluster.ssh("node1", USE_STORAGE)).toBe("ext4\nimage\ncontainer");
      expect(cluster.ssh("node2", USE_STORAGE)).toBe(`${isOnDisk ? "ext4" : "tmpfs"}\nimage\ncontainer`);
      const sizes = cluster.status().nodes.map(({ containerStorage }) => {
        expect(containerStorage).toMatchObject({ state: "ready" });
        return containerStorage!.sizeKiB! / 1024;
      });
      // ext4 needs some for itself.
      expect(sizes[0]).toBeGreaterThan(7.5 * 1024);
      if (isOnDisk) expect(sizes[1]).toBeGreaterThan(900);
      else expect(sizes[1]).toBe(256);
      expect(
        cluster.ssh("node1", `for f in ${folders.join(" ")}; do findmnt -n -o SOURCE /var/lib/$f; done`).split("\n"),
      ).toEqual(folders.map((folder) => `/dev/loop0[/${folder}]`));
    },
    120_000,
  );

  it.skipIf(!isOnDisk)(
    "keep an image of containers sparse on the manager's disk, and give back what containers on a disk of their own free",
    () => {
      const data = join(cluster.folder, "data");
      const files = readdirSync(data, { recursive: true, encoding: "utf8" }).map((name) => statSync(join(data, name)));
      const [image, ...others] = files.filter((file) => file.size === 8192 * MIB);
      expect(others).toEqual([]);
      expect((image!.blocks * 512) / MIB).toBeLessThan(40);

      const used = () => (statSync(disk.path).blocks * 512) / MIB;
      cluster.ssh("node2", "sudo dd if=/dev/zero of=/var/lib/docker/large bs=1M count=64 conv=fsync status=none");
      expect(used()).toBeGreaterThan(64);
      expect(cluster.ssh("node2", "systemctl is-active bramble-trim.timer")).toBe("active");
      cluster.ssh("node2", "sudo rm /var/lib/docker/large; sudo sync; sudo systemctl start bramble-trim");
      expect(used()).toBeLessThan(64);
    },
    120_000,
  );

  it.skipIf(!isOnDisk)(
    "leave a disk alone that holds something else, and say so",
    () => {
      const unmount = `for f in ${folders.join(" ")} bramble/containers; do sudo umount /var/lib/$f; done`;
      cluster.ssh("node2", `${unmount}; sudo e2label ${DEVICE} photos`);
      expect(triedAgain()).toMatchObject({
        problem: expect.stringMatching(/^Cannot keep containers on the storage of node2: its disk holds something/),
      });
      cluster.ssh("node2", `sudo e2label ${DEVICE} bramble-storage`);
      expect(triedAgain()).toMatchObject({ containerStorage: { state: "ready" } });
    },
    120_000,
  );

  /** From before the last boot: a line, a folder, and files of the journal that were not closed in order. */
  const LOOK_AT_LOGS = `sudo journalctl -q -b -1 -t own -o cat; stat -c '%a %U' /var/log/own
    echo $(sudo find /var/log/journal -name '*~' | wc -l; systemctl --failed --no-legend --plain | wc -l)`;

  it.skipIf(!hasLogs)(
    "have their logs in memory, and swap there",
    () => {
      const look = `findmnt -n -r -o FSTYPE,SIZE /var/log; sed 1d /proc/swaps | xargs -r echo
        journalctl --header | grep -c '^File path: /var/log/journal'; stat -c '%a %U:%G' /var/log/wtmp`;
      expect(cluster.ssh("node1", look)).toMatch(
        /^tmpfs 32M\n\/dev\/zram\d partition 131068 0 100\n[1-9]\n664 root:utmp$/,
      );
      expect(cluster.ssh("node2", look)).toMatch(/^tmpfs 16M\n[1-9]\n664 root:utmp$/);
      const [first, second] = cluster.status().nodes.map((node) => node.settings);
      expect(first).toEqual([
        { setting: "logs", state: "ready" },
        { setting: "swap", state: "ready" },
      ]);
      expect(second).toEqual([{ setting: "logs", state: "ready" }]);
    },
    120_000,
  );

  it.skipIf(!hasDocker)(
    "run Debian's own Docker there: overlay2, and a container whose memory is limited",
    () => {
      cluster.ssh("node1", `sudo systemctl unmask --quiet ${DOCKER_UNITS.join(" ")} && sudo systemctl start docker`);
      const look = "sudo docker info --format '{{.Driver}} {{.DockerRootDir}} {{.MemoryLimit}}'";
      const load = "tar -C /usr/bin -c busybox | sudo docker import - scratch > /dev/null";
      const run = "sudo docker run --rm --network none --memory 64m scratch /busybox cat /sys/fs/cgroup/memory.max";
      const said = cluster.ssh("node1", [look, load, run].join(" && "));
      expect(said.split("\n")).toEqual(["overlay2 /var/lib/docker true", String(64 * MIB)]);
      // Stopped first: what is masked while it runs is ended last of all at a restart, with its storage below it.
      const units = DOCKER_UNITS.slice(0, 3).join(" ");
      cluster.ssh("node1", `sudo systemctl stop ${units} && sudo systemctl mask --quiet ${DOCKER_UNITS.join(" ")}`);
    },
    BOOT_TIMEOUT_MS,
  );

  it.skipIf(leftToSoak && next !== "reboot")(
    "keep what a node writes from its neighbour, and over a reboot",
    async () => {
      cluster.ssh("node1", "echo precious > ~/kept && sudo install -D ~/kept /var/lib/docker/kept && sudo sync");
      cluster.ssh("node1", "logger -t own before && sudo install -d -o pi -m 710 /var/log/own");
      expect(cluster.ssh("node2", "ls ~")).toBe("");
      const upAgain = cluster.waitUp("node1");
      // sshd goes down under the command, so how it ends says nothing.
      expect(() => cluster.ssh("node1", "sudo systemctl reboot; sleep 110")).toThrow();
      await upAgain;
      // Docker, where it ran, let only root into its folder.
      expect(cluster.ssh("node1", "sudo cat ~/kept /var/lib/docker/kept")).toBe("precious\nprecious");
      if (hasLogs) expect(cluster.ssh("node1", LOOK_AT_LOGS)).toBe("before\n710 pi\n0 0");
    },
    BOOT_TIMEOUT_MS,
  );

  it.skipIf(leftToSoak && next !== "reset")(
    "have nothing of what they wrote after a reset",
    async () => {
      cluster.ssh("node1", "echo precious > ~/kept && sync");
      cluster.bramble("nodes", "reset", "node1");
      const upAsNew = cluster.waitUp("node1");
      cluster.powerCycle("node1");
      await upAsNew;
      expect(cluster.ssh("node1", "ls ~")).toBe("");
      expect(cluster.ssh("node1", "hostname")).toBe("node1");
    },
    BOOT_TIMEOUT_MS,
  );
});
