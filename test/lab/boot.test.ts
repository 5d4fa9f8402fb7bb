/**
 * Whole boots: virtual Pi 4 firmware, the fetched kernel in QEMU, an NFS root from the image file. What stage A promises
 * to its users, on each kind of image.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bookwormLikeImage, debianImage, FIRST_BOOT_MARK, missingImages, trixieLikeImage } from "./images.ts";
import { Simulation } from "./simulation.ts";

const BOOT_TIMEOUT_MS = 400_000;

const IMAGES = [
  { name: "Debian with its initramfs", image: debianImage, hasInitramfs: true },
  { name: "an image laid out as bookworm, without an initramfs", image: bookwormLikeImage, hasInitramfs: false },
  { name: "an image laid out as trixie, without an initramfs", image: trixieLikeImage, hasInitramfs: false },
];

describe.skipIf(missingImages()).each(IMAGES)("two nodes from $name", ({ image, hasInitramfs }) => {
  let cluster: Simulation;

  beforeAll(async () => {
    cluster = new Simulation({ image: image(), nodes: 2 });
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

  it(
    "keep what a node writes from its neighbour, over a reboot, until it is reset",
    async () => {
      cluster.ssh("node1", "echo precious > ~/kept && sudo sync");
      expect(cluster.ssh("node2", "ls ~")).toBe("");
      const upAgain = cluster.waitUp("node1");
      // sshd goes down under the command, so how it ends says nothing.
      expect(() => cluster.ssh("node1", "sudo systemctl reboot; sleep 30")).toThrow();
      await upAgain;
      expect(cluster.ssh("node1", "cat ~/kept")).toBe("precious");

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
