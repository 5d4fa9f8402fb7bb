/**
 * A user's own manifest, simulated as it is: its interface, its network, a node known by its serial number alone, and
 * `dhcp: proxy`. A router that knows nothing of Bramble gives the addresses; the manager must find out whose they are.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { BootEvent } from "../../src/cluster/event.ts";
import { Console } from "./console.ts";
import { demoImage } from "./demo-image.ts";
import { requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const manifest = (image: string) => `cluster: attic
network:
  interface: eth0
  subnet: 192.168.7.0/24
  address: 192.168.7.20
  dhcp: proxy
image: ${JSON.stringify(image)}
nodes:
  - { name: node1, serial: "10000001" }
`;

let cluster: Simulation | undefined;
const skipped = requireTools(["ip", "unshare", "qemu-system-aarch64"]);

beforeAll(() => {
  if (!skipped) cluster = new Simulation({ manifest: manifest(demoImage()) });
}, 300_000);
afterAll(() => cluster?.stop(), 60_000);

it.skipIf(skipped)(
  "a node boots with an address of the router's, and the manager learns it",
  async () => {
    await Promise.all([cluster!.waitUp("node1"), cluster!.waitLogin("node1")]);
    const [node] = cluster!.status().nodes;
    expect(node).toMatchObject({ name: "node1", stage: "up", isStalled: false });
    expect(node!.address).toMatch(/^192\.168\.7\.\d+$/);
    expect(node!.address).not.toBe("192.168.7.20");
    expect(cluster!.console("node1")).toMatch(/initramfs: root is 192\.168\.7\.20:\/bramble\/node1\/root/);

    const told = cluster!.events.filter((event): event is BootEvent => "sequence" in event);
    const replies = told.filter((event) => event.kind === "dhcp-reply");
    // Firmware is told where to boot from, and Linux nothing; neither gets an address from us.
    expect(replies.length).toBeGreaterThan(0);
    for (const reply of replies) {
      expect(reply).toMatchObject({ responder: "proxy", message: "OFFER" });
      expect(reply).not.toHaveProperty("address");
    }
    expect(told.filter((event) => event.kind === "mount-refused" || event.kind === "tftp-failed")).toEqual([]);
  },
  300_000,
);

it.skipIf(skipped)(
  "a manager that was killed knows the running node again, which goes on",
  async () => {
    const restarted = cluster!.wait("the manager starts", (event) => event.kind === "manager-started");
    cluster!.killManager();
    await restarted;
    await expect.poll(() => cluster!.status().nodes[0], { timeout: 20_000 }).toMatchObject({ stage: "up" });
    const console = new Console(cluster!.folder, "node1");
    try {
      await console.login("root");
      await console.run("echo 3 > /proc/sys/vm/drop_caches");
      expect(await console.run("echo new > /root/file; sync; ls /root")).toBe("file");
    } finally {
      console.close();
    }
    expect(cluster!.console("node1")).not.toMatch(/Stale file handle|I\/O error|Permission denied/);
  },
  120_000,
);

it.skipIf(skipped)(
  "a node that hangs is told as lost, with what to do, and as back when it goes on",
  async () => {
    const ofNode1 = (kind: BootEvent["kind"]) => (event: { kind: string }) =>
      event.kind === kind && "node" in event && event.node === "node1";
    const lost = cluster!.wait("node1 does not answer", ofNode1("diagnosis"), 90_000);
    const goOn = cluster!.suspend("node1");
    try {
      expect(await lost).toMatchObject({ cause: "up-no-answer" });
      const [node] = cluster!.status().nodes;
      expect(node).toMatchObject({ stage: "up", diagnosis: { cause: "up-no-answer" } });
      expect(cluster!.bramble("status")).toMatch(
        /node1 +up, no answer .*The node was up, and does not answer any more/,
      );
    } finally {
      const back = cluster!.wait("node1 is well again", ofNode1("diagnosis-cleared"), 60_000);
      goOn();
      await back;
    }
    expect(cluster!.status().nodes[0]).not.toHaveProperty("noAnswerSinceMs");
    expect(cluster!.bramble("status")).toMatch(/node1 +up +/);
  },
  180_000,
);
