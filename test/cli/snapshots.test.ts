/** Snapshots, restore, clone and diff of a running manager, by its commands, with a real NFS client that writes. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const cluster = new LoopbackCluster([
  '{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1 }',
  '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.2 }',
]);

/** A file at the top of node1's root tree: the clients of libnfs mount the folder that it is in. */
const url = (path: string) => cluster.url("node1", path);

function write(path: string, content: string): void {
  cluster.work.write("content", content);
  execFileSync("nfs-cp", [cluster.work.path("content"), url(path)], { timeout: 20_000 });
}

const read = (path: string) => execFileSync("nfs-cat", [url(path)], { encoding: "utf8", timeout: 20_000 });

describe.skipIf(requireTools([...CLUSTER_TOOLS, "nfs-cp", "nfs-cat"]))("snapshots of a node", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const ask = (...words: string[]) => cluster.ask("nodes", ...words);
  const said = async (...words: string[]) => (await ask(...words)).stdout;
  const refused = async (...words: string[]) => (await ask(...words)).stderr;

  it("tell that nothing was changed, or what was", async () => {
    expect(await said("diff", "node1")).toBe("node1 has changed nothing\n");
    write("/mine", "one\n");
    expect(await said("diff", "node1")).toBe("+ /mine  4 B\n1 change\n");
    expect(JSON.parse(await said("diff", "node1", "--json"))).toEqual({
      tree: "root",
      kind: "added",
      path: "/mine",
      type: "file",
      sizeBytes: 4,
    });
    expect(await refused("diff", "node7")).toBe(
      "bramble: Cannot compare node7 with its image: the manager serves no node node7\n",
    );
  });

  it("are taken, listed and restored", async () => {
    expect(await said("snapshots", "node1")).toBe("node1 has no snapshots\n");
    expect(await said("snapshot", "node1", "first")).toBe("node1: snapshot first is taken\n");
    write("/second", "two!\n");
    expect(read("/second")).toBe("two!\n");
    expect(await said("snapshot", "node1")).toMatch(/^node1: snapshot \d{4}-\d\d-\d\d-\d{6} is taken\n$/);
    expect(await said("snapshots", "node1")).toMatch(
      /^NAME +TAKEN \(UTC\) +HOLDS\nfirst +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +4 B\n\S+ +\S+ \S+ +5 B\n$/,
    );
    expect(await said("restore", "node1", "first")).toBe("node1 is as it was at first. Restart it if it is running\n");
    expect(read("/mine")).toBe("one\n");
    expect(await said("diff", "node1")).toBe("+ /mine  4 B\n1 change\n");
    expect(await refused("restore", "node1", "third")).toMatch(
      /^bramble: Cannot restore snapshot third of node1: it has only first, /,
    );
    expect(await refused("snapshot", "node1", "first")).toBe(
      "bramble: Cannot take snapshot first of node1: there is one of that name; choose another, or remove it\n",
    );
  });

  it("are given to another node, which goes its own way", async () => {
    expect(await said("clone", "node1", "node2", "--snapshot", "first")).toBe(
      "node2 has the files of node1. Restart node2 if it is running\n",
    );
    expect(await said("diff", "node2")).toBe("+ /mine  4 B\n1 change\n");
    write("/later", "x");
    expect(await said("diff", "node2")).toBe("+ /mine  4 B\n1 change\n");
    expect(await refused("clone", "node1", "node2")).toBe(
      "bramble: Cannot clone node1 to node2: node2 has written files of its own; bramble nodes reset node2 drops what it wrote\n",
    );
  });

  it("are there after the manager was started again, and go when they are removed", async () => {
    await cluster.restartManager();
    expect(read("/mine")).toBe("one\n");
    expect(await said("snapshots", "node1", "--remove", "first")).toBe("node1: snapshot first is removed\n");
    expect(JSON.parse(await said("snapshots", "node1", "--json"))).toHaveLength(1);
    expect(await said("reset", "node1")).toMatch(/^node1 is as new/);
    expect(await said("diff", "node1")).toBe("node1 has changed nothing\n");
    expect(await said("diff", "node2")).toBe("+ /mine  4 B\n1 change\n");
  });

  it("leave a store in which fsck finds nothing wrong, beside the manager and after it", async () => {
    const check = (...words: string[]) => cluster.ask("fsck", ...words);
    const looked =
      /^4 trees, 1 snapshot, \d+ layers, \d+ records, \d+ data files?, beside a running manager: nothing is wrong\n$/;
    expect((await check()).stdout).toMatch(looked);
    expect((await check("--repair")).stderr).toMatch(
      /^bramble: Cannot repair .*: a manager runs on it; stop it first\n$/,
    );
    await cluster.manager.stop();
    const { stdout, code } = await check("--repair", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, isInUse: false, findings: [], repaired: [] });
    expect(code).toBe(0);
    await cluster.startManager();
  });

  it("are on the feed", async () => {
    const watch = cluster.run("watch");
    await watch.waitFor(/node1 +snapshot first is taken\n[\s\S]*node1 +restored: .* first\n/);
    await watch.waitFor(/node2 +cloned: it has the files of node1 at snapshot first\n/);
    await watch.stop();
  });
});
