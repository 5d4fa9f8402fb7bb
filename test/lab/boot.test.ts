/**
 * Whole boots: virtual Pi 4 firmware, the fetched kernel in QEMU, an NFS root from the image file. What stage A promises
 * to its users, on each kind of image.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bookwormLikeImage, debianImage, FIRST_BOOT_MARK, missingImages, trixieLikeImage } from "./images.ts";
import { Simulation } from "./simulation.ts";

const BOOT_TIMEOUT_MS = 400_000;

/** `storage:` keeps containers of the first node in an image file in its tree, and those of the second in its memory. */
const manifest = (image: string, hasStorage: boolean) => `cluster: demo
network: { interface: eth0, dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.11, to: 10.77.0.20 } }
image: ${JSON.stringify(image)}
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4${hasStorage ? ", storage: { kind: loop, size: 8GiB }" : ""} }
  - { name: node2, mac: "dc:a6:32:00:00:02", serial: "10000002", model: 4${hasStorage ? ", storage: { kind: memory, size: 256MiB }" : ""} }
`;
const MIB = 1024 * 1024;

/** What storage needs is modules of Debian's kernel, and built into the one that the other two have. */
const IMAGES = [
  { name: "Debian with its initramfs", image: debianImage, hasInitramfs: true, hasStorage: true },
  {
    name: "an image laid out as bookworm, without an initramfs",
    image: bookwormLikeImage,
    hasInitramfs: false,
    hasStorage: true,
  },
  {
    name: "an image laid out as trixie, without an initramfs",
    image: trixieLikeImage,
    hasInitramfs: false,
    hasStorage: false,
  },
];

describe.skipIf(missingImages()).each(IMAGES)("two nodes from $name", ({ image, hasInitramfs, hasStorage }) => {
  let cluster: Simulation;

  beforeAll(async () => {
    cluster = new Simulation({ manifest: manifest(image(), hasStorage) });
    await Promise.all(["node1", "node2"].flatMap((node) => [cluster.waitUp(node), cluster.waitLogin(node)]));
  }, BOOT_TIMEOUT_MS);

  afterAll(() => cluster.stop(), 60_000);

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

  it.skipIf(!hasStorage)(
    "keep containers where overlays work, seen by the manager, and sparse on its disk",
    () => {
      expect(cluster.ssh("node1", USE_STORAGE)).toBe("ext4\nimage\ncontainer");
      expect(cluster.ssh("node2", USE_STORAGE)).toBe("tmpfs\nimage\ncontainer");
      const [loop, memory] = cluster.status().nodes.map((node) => node.containerStorage);
      expect(loop).toMatchObject({ state: "ready", sizeKiB: expect.toSatisfy((kib) => kib > 7.5 * 1024 ** 2) });
      expect(memory).toMatchObject({ state: "ready", sizeKiB: 256 * 1024 });
      const folders = "docker containerd kubelet rancher";
      expect(
        cluster.ssh("node1", `for f in ${folders}; do findmnt -n -o SOURCE /var/lib/$f; done`).split("\n"),
      ).toEqual(folders.split(" ").map((folder) => `/dev/loop0[/${folder}]`));
      const data = join(cluster.folder, "data");
      const files = readdirSync(data, { recursive: true, encoding: "utf8" }).map((name) => statSync(join(data, name)));
      const [image, ...others] = files.filter((file) => file.size === 8192 * MIB);
      expect(others).toEqual([]);
      expect((image!.blocks * 512) / MIB).toBeLessThan(40);
    },
    120_000,
  );

  it(
    "keep what a node writes from its neighbour, over a reboot, until it is reset",
    async () => {
      cluster.ssh("node1", "echo precious > ~/kept && sudo install -D ~/kept /var/lib/docker/kept && sudo sync");
      expect(cluster.ssh("node2", "ls ~")).toBe("");
      const upAgain = cluster.waitUp("node1");
      // sshd goes down under the command, so how it ends says nothing.
      expect(() => cluster.ssh("node1", "sudo systemctl reboot; sleep 30")).toThrow();
      await upAgain;
      expect(cluster.ssh("node1", "cat ~/kept /var/lib/docker/kept")).toBe("precious\nprecious");

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
