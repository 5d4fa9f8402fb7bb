/** Snapshots, restore and clone of nodes that run: what their own kernel's NFS client sees of it. */
import { afterEach, expect, it } from "vitest";
import { Console } from "./console.ts";
import { demoImage } from "./demo-image.ts";
import { debianImage, missingImages } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

let cluster: Simulation | undefined;
const skipped = requireTools(["ip", "unshare", "qemu-system-aarch64"]);

afterEach(() => cluster?.stop(), 60_000);

async function atConsole<Value>(node: string, use: (run: Console["run"]) => Promise<Value>): Promise<Value> {
  const console = new Console(cluster!.folder, node);
  try {
    await console.login("root");
    return await use((line) => console.run(line));
  } finally {
    console.close();
  }
}

async function bootAnd(nodes: readonly string[], start: () => void): Promise<void> {
  const booted = Promise.all(nodes.flatMap((node) => [cluster!.waitUp(node), cluster!.waitLogin(node)]));
  start();
  await booted;
}

const nodes = (...words: string[]) => cluster!.bramble("nodes", ...words);

it.skipIf(skipped)(
  "a running node does not notice its snapshot, and is as it was when it boots after a restore",
  async () => {
    cluster = new Simulation({ image: demoImage(), nodes: 2 });
    await bootAnd(["node1", "node2"], () => {});
    await atConsole("node1", async (run) => {
      await run("echo one > /root/kept; exec 3> /root/open; echo first >&3; sync");
      nodes("snapshot", "node1", "first");
      // The same files, by the handles that the kernel has: open ones, cached ones, and those asked for anew.
      await run("echo second >&3; echo two > /root/kept; rm /root/open; sync; echo 3 > /proc/sys/vm/drop_caches");
      expect(await run("cat /root/kept")).toBe("two");
      expect(await run("cat /proc/self/fd/3")).toMatch(/first\s+second/);
    });
    expect(nodes("diff", "node1")).toMatch(/^\+ \/root\/kept {2}4 B$/m);

    nodes("restore", "node1", "first");
    nodes("reset", "node2");
    nodes("clone", "node1", "node2", "--snapshot", "first");
    await bootAnd(["node1", "node2"], () => ["node1", "node2"].map((node) => cluster!.powerCycle(node)));
    for (const node of ["node1", "node2"]) {
      await atConsole(node, async (run) => {
        expect(await run("cat /root/kept /root/open")).toMatch(/^one\s+first$/);
        expect(await run("hostname")).toBe(node);
      });
    }
    expect(cluster.bramble("fsck")).toMatch(/beside a running manager: nothing is wrong$/m);
  },
  400_000,
);

it.skipIf(leftToSoak || skipped || missingImages())(
  "Debian goes back to a snapshot that was taken while it ran",
  async () => {
    cluster = new Simulation({ image: debianImage(), nodes: 1 });
    await bootAnd(["node1"], () => {});
    cluster.ssh("node1", "echo one > ~/kept && sudo sync");
    nodes("snapshot", "node1", "first");
    cluster.ssh("node1", "echo two > ~/kept && sudo rm /etc/issue && sudo sync && cat ~/kept");
    expect(nodes("diff", "node1")).toMatch(/^- \/etc\/issue$/m);
    nodes("restore", "node1", "first");
    await bootAnd(["node1"], () => cluster!.powerCycle("node1"));
    expect(cluster.ssh("node1", "cat ~/kept; ls /etc/issue")).toBe("one\n/etc/issue");
    expect(cluster.ssh("node1", "systemctl --failed --no-legend --plain")).toBe("");
  },
  900_000,
);
