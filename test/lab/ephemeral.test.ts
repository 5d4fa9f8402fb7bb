/** `root: ephemeral`: what the node wrote is gone when it boots again, and never while it runs. */
import { afterEach, expect, it } from "vitest";
import { Console } from "./console.ts";
import { demoImage } from "./demo-image.ts";
import { debianImage, missingImages } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { Simulation, type SimulationEvent } from "./simulation.ts";

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, subnet: 10.9.8.0/24, dhcp: server, range: { from: 10.9.8.100, to: 10.9.8.200 } }
image: ${JSON.stringify(image)}
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", root: ephemeral }
`;

let cluster: Simulation | undefined;
const skipped = requireTools(["ip", "unshare", "qemu-system-aarch64"]);

afterEach(() => cluster?.stop(), 60_000);

async function atConsole<Value>(use: (console: Console) => Promise<Value>): Promise<Value> {
  const console = new Console(cluster!.folder, "node1");
  try {
    return await use(console);
  } finally {
    console.close();
  }
}

async function bootAnd(start: () => void): Promise<void> {
  const booted = Promise.all([cluster!.waitUp("node1"), cluster!.waitLogin("node1")]);
  start();
  await booted;
}

it.skipIf(skipped)(
  "an ephemeral root lives as long as its node runs, and no longer",
  async () => {
    cluster = new Simulation({ manifest: manifest(demoImage()) });
    await bootAnd(() => {});
    await atConsole(async (console) => {
      await console.login("root");
      await console.run("echo precious > /root/kept; sync");
      // What might be taken for a boot: Linux asks for an address, the node reads a boot file, the manager starts anew.
      expect(await console.run("udhcpc -n -q -i eth0 -s /bin/true")).toMatch(/lease of 10\.9\.8\.\d+ obtained/);
      expect(await console.run("cd /tmp && tftp -g -r config.txt 10.9.8.1 && wc -l < config.txt")).toMatch(/^\d+$/);
      cluster!.killManager();
      await cluster!.wait("the manager starts", (event) => event.kind === "manager-started");
      await console.run("echo 3 > /proc/sys/vm/drop_caches");
      expect(await console.run("cat /root/kept")).toBe("precious");
    });
    await expect.poll(() => cluster!.status().nodes[0], { timeout: 20_000 }).toMatchObject({ stage: "up" });

    const isDiscover = (event: SimulationEvent) => event.kind === "dhcp-request" && event.message === "DISCOVER";
    await bootAnd(() => {
      // The worst moment to die: the old root is about to go, and the firmware will not say again that it starts.
      void cluster!.wait("the firmware asks", isDiscover).then(() => cluster!.killManager());
      cluster!.powerCycle("node1");
    });
    await atConsole(async (console) => {
      await console.login("root");
      expect(await console.run("ls /root")).toBe("");
    });
    expect(cluster!.console("node1")).not.toMatch(/Stale file handle|I\/O error/);
  },
  300_000,
);

it.skipIf(leftToSoak || skipped || missingImages())(
  "and so does that of Debian",
  async () => {
    cluster = new Simulation({ manifest: manifest(debianImage()) });
    await bootAnd(() => {});
    cluster.ssh("node1", "echo precious > ~/kept && sudo sync && cat ~/kept");
    expect(cluster.status().nodes[0]).toMatchObject({ stage: "up", rootMode: "ephemeral" });
    await bootAnd(() => cluster!.powerCycle("node1"));
    expect(cluster.ssh("node1", "ls ~; hostname")).toBe("node1");
    expect(cluster.ssh("node1", "systemctl --failed --no-legend --plain")).toBe("");
  },
  900_000,
);
