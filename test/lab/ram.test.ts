/** `root: ram`: the node copies its root into memory, and the manager can go. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { Console } from "./console.ts";
import { demoImage } from "./demo-image.ts";
import { bookwormLikeImage, debianImage, missingImages } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { BRAMBLE, Simulation, type SimulationEvent } from "./simulation.ts";

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, subnet: 10.9.8.0/24, dhcp: server, range: { from: 10.9.8.100, to: 10.9.8.200 } }
image: ${JSON.stringify(image)}
root: ram
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001" }
`;

let cluster: Simulation | undefined;
const skipped = requireTools(["ip", "unshare", "qemu-system-aarch64"]);
afterEach(() => cluster?.stop(), 60_000);

/** 511 MiB in 12,000 files: 180 s of CPU on an emulated machine, and ten times as long when others run beside it. */
const COPY_TIMEOUT_MS = 1_500_000;

/** Mounts that a stopped manager would make hang, and the file system at `/`. */
const LOOK_AT_ROOT = "grep -c nfs /proc/mounts; grep ' / ' /proc/mounts | cut -d ' ' -f 3";
const WORK =
  "dd if=/dev/zero of=/root/written bs=1M count=20 2> /dev/null && ls / > /dev/null && md5sum < /root/written";
const WORKED = "8f4e33f3dc3e414ff94e5fb6905cba8c  -";

it.skipIf(skipped)(
  "a busybox node works on from memory without its manager, reports itself up and down, and begins anew",
  async () => {
    cluster = new Simulation({ manifest: manifest(demoImage()) });
    await Promise.all([cluster.waitUp("node1"), cluster.waitLogin("node1")]);
    expect(cluster.console("node1")).toMatch(/ram root: copying \d+ MiB into memory, \d+ MiB are free/);
    expect(cluster.console("node1")).toMatch(/ram root: \d+ of \d+ MiB copied, \d+ s/);
    expect(cluster.status().nodes[0]).toMatchObject({ stage: "up", rootMode: "ram" });

    const console = new Console(cluster.folder, "node1");
    await console.login("root");
    expect(await console.run(LOOK_AT_ROOT)).toBe("0\ntmpfs");
    const goOn = cluster.suspendManager();
    await console.run("echo 3 > /proc/sys/vm/drop_caches");
    expect(await console.run(WORK)).toBe(WORKED);
    goOn();

    const down = cluster.wait("it says that it goes down", (event) => event.kind === "shutdown-seen");
    const upAgain = Promise.all([cluster.waitUp("node1"), cluster.waitLogin("node1")]);
    void console.run("reboot").catch(() => {});
    await down;
    await upAgain;
    console.close();
    const second = new Console(cluster.folder, "node1");
    await second.login("root");
    expect(await second.run("ls /root")).toBe("");
    second.close();
  },
  300_000,
);

it.skipIf(skipped)(
  "a node with too little memory says so, on its console and as an event, and starts again",
  async () => {
    cluster = new Simulation({ manifest: manifest(demoImage()), memoryMiB: 160 });
    const said = (event: SimulationEvent) => event.kind === "warning" && "node" in event && event.node === "node1";
    const warning = await cluster.wait("the warning", said);
    expect(warning).toMatchObject({
      message: expect.stringMatching(
        /^Cannot keep the root of node1 in memory: it needs \d+ MiB, and \d+ MiB are free; use root: ephemeral, or a smaller image$/,
      ),
    });
    await expect
      .poll(() => cluster!.console("node1"))
      .toMatch(/Cannot keep the root in memory: its files take \d+ MiB .*restarting in 60 seconds/s);
    expect(cluster.status().nodes[0]).toMatchObject({ stage: "root" });
    await cluster.wait("it starts again", (event) => event.kind === "dhcp-request" && event.message === "DISCOVER");
  },
  300_000,
);

const IMAGES = [
  { name: "Debian, mounted by its initramfs", image: debianImage },
  { name: "an image laid out as bookworm, mounted by its kernel", image: bookwormLikeImage },
];

describe.skipIf(leftToSoak || skipped || missingImages()).each(IMAGES)("$name", ({ image }) => {
  it(
    "works on from memory without its manager",
    async () => {
      cluster = new Simulation({ manifest: manifest(image()), memoryMiB: 2048 });
      await Promise.all([cluster.waitUp("node1", COPY_TIMEOUT_MS), cluster.waitLogin("node1", COPY_TIMEOUT_MS)]);
      expect(cluster.ssh("node1", "systemctl --failed --no-legend --plain")).toBe("");
      expect(cluster.ssh("node1", LOOK_AT_ROOT)).toBe("0\ntmpfs");
      expect(cluster.console("node1")).toMatch(/ram root: the root is in memory/);

      const words = [BRAMBLE, "--manifest", join(cluster.folder, "bramble.yaml"), "--state", cluster.folder];
      const remote = `echo ready; sleep 5; sudo sh -c '${WORK}'; sudo systemctl restart ssh; echo over`;
      const ssh = spawn(process.execPath, [...words, "ssh", "node1", "--", remote], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let said = "";
      ssh.stdout.on("data", (bytes: Buffer) => {
        said += bytes.toString();
      });
      await expect.poll(() => said, { timeout: 60_000 }).toBe("ready\n");
      const goOn = cluster.suspendManager();
      await expect.poll(() => said, { timeout: 60_000 }).toBe(`ready\n${WORKED}\nover\n`);
      goOn();
      const down = cluster.wait("it says that it goes down", (event) => event.kind === "shutdown-seen");
      expect(() => cluster!.ssh("node1", "sudo systemctl reboot; sleep 30")).toThrow();
      await down;
    },
    COPY_TIMEOUT_MS + 300_000,
  );
});
