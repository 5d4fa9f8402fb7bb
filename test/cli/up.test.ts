/**
 * A manager that an ordinary user runs on loopback, from its start to its end: what it serves to real clients, and what
 * the other commands say of it meanwhile.
 */
import { execFileSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ManagerStatusView } from "../../src/manager/status-view.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const cluster = new LoopbackCluster([
  '{ name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", address: 127.0.0.1 }',
]);
const { work } = cluster;

describe.skipIf(requireTools([...CLUSTER_TOOLS, "curl", "nfs-ls"]))("an unprivileged manager", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const ask = (...words: string[]) => cluster.ask(...words);
  const status = async () => JSON.parse((await ask("status", "--json")).stdout) as ManagerStatusView;

  it("says what it serves, and where", () => {
    expect(cluster.manager.stderr).toBe(
      "bramble: serving 1 node on address 127.0.0.1, DHCP proxy. Ctrl-C stops; nodes then pause until it is back.\n",
    );
  });

  it("serves the node's boot files by TFTP", () => {
    const get = (name: string) =>
      execFileSync("curl", ["-sS", "--max-time", "20", `tftp://127.0.0.1:${cluster.port("tftp")}/${name}`], {
        encoding: "utf8",
      });
    expect(get("config.txt")).toContain("kernel=vmlinuz-6.1.0-50-arm64\n");
    expect(get("10000001/cmdline.txt")).toContain(
      `root=/dev/nfs nfsroot=127.0.0.1:/bramble/node1/root,vers=3,tcp,nolock,port=${cluster.port("nfs")}`,
    );
  });

  it("serves the node's root by NFS", () => {
    const listing = execFileSync("nfs-ls", [cluster.url("node1")], { encoding: "utf8", timeout: 20_000 });
    const names = listing
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/).at(-1));
    expect(names).toEqual(expect.arrayContaining(["bin", "etc", "home", "lost+found", "sbin"]));
  });

  it("shows the plan of a node as text and as data, and knows no other", async () => {
    const { stdout } = await ask("plan", "node1");
    expect(stdout).toMatch(/^node1: mac dc:a6:32:00:00:01, serial 10000001, machine-id [0-9a-f]{32}\n/);
    expect(stdout).toMatch(/\nroot {2}\/etc\/hostname +file 0644 +node identity\n/);
    const plan = JSON.parse((await ask("plan", "node1", "--json")).stdout) as { node: string; files: unknown[] };
    expect(plan).toMatchObject({ node: "node1", image: "os", rootMode: "persistent" });
    expect(await ask("plan", "node7")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot show the plan of node7: the manifest has no node of that name\n",
    });
  });

  it("takes up a node that is added while it runs", async () => {
    expect((await ask("nodes", "add", "node2", "--mac", "dc:a6:32:00:00:02")).code).toBe(0);
    await cluster.manager.waitFor(/manifest: 2 nodes/);
    const { stdout } = await ask("status");
    expect(stdout).toMatch(/^NODE +STAGE +BOOT +MODEL +ADDRESS +WRITTEN\nnode1 .*\nnode2 +silent .*\n$/);
  });

  it("goes on with the old manifest while the new one is wrong, and can be asked meanwhile", async () => {
    const good = work.read("bramble.yaml");
    work.write("bramble.yaml", `${good}colour: red\n`);
    await cluster.manager.waitFor(/manifest rejected: 1 problem; the old one goes on/);
    await cluster.manager.waitFor(/warning: bramble\.yaml:10:1: colour: Unknown key "colour"\./);
    expect((await status()).nodes.map((node) => node.name)).toEqual(["node1", "node2"]);
    work.write("bramble.yaml", good.replace("node2", "node3"));
    await cluster.manager.waitFor(/manifest: 2 nodes[\s\S]*manifest: 2 nodes/);
    expect((await status()).nodes.map((node) => node.name)).toEqual(["node1", "node3"]);
  });

  it("reads the manifest again on SIGHUP", async () => {
    const seen = () => cluster.manager.stdout.match(/manifest: 2 nodes/g)?.length ?? 0;
    const before = seen();
    cluster.manager.child.kill("SIGHUP");
    for (let tries = 0; seen() === before && tries < 200; tries += 1) await pause(50);
    expect(seen()).toBe(before + 1);
  });

  it("drops what a node wrote, and knows no other", async () => {
    expect(await ask("nodes", "reset", "node1")).toEqual({
      code: 0,
      stdout: "node1 is as new: 0 B dropped. Restart it if it is running\n",
      stderr: "",
    });
    expect(JSON.parse((await ask("nodes", "reset", "node1", "--json")).stdout)).toEqual({
      node: "node1",
      droppedBytes: 0,
    });
    expect(await ask("nodes", "reset", "node7")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot reset node7: the manifest has no node of that name\n",
    });
    expect((await ask("ssh", "node7")).stderr).toBe(
      "bramble: Cannot log in to node7: the manifest has no node of that name\n",
    );
  });

  it("keeps the image that its manifest uses", async () => {
    expect(await ask("image", "remove", "os")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot remove image os: the manifest uses it\n",
    });
    const { stdout } = await ask("image");
    const containerSha256 = execFileSync("sha256sum", [work.path("os.img")], { encoding: "utf8" }).slice(0, 12);
    expect(stdout).toMatch(
      new RegExp(`^NAME  SIZE      SHA256 .*\\nos    13\\.0 MiB  ${containerSha256}  .*os\\.img\\n$`),
    );
  });

  it("lets itself be watched where there is no terminal, as lines or as data", async () => {
    const lines = cluster.run("watch");
    await lines.waitFor(/node1 +reset: what the node wrote is dropped\n/);
    const data = cluster.run("watch", "--json");
    await data.waitFor(/"kind":"reset".*\n/);
    const events = data.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string });
    expect(events[0]).toMatchObject({ kind: "manager-started" });
    await Promise.all([lines.stop(), data.stop()]);
  });

  it("ends at a signal, with exit code 0, and then cannot be reached", async () => {
    expect((await cluster.manager.stop()).code).toBe(0);
    expect((await ask("status")).stderr).toMatch(/^bramble: Cannot reach the manager: none listens on /);
  });

  it("remembers its nodes' identity when it starts again", async () => {
    const machineId = /machine-id [0-9a-f]{32}/;
    await cluster.startManager();
    await cluster.manager.waitFor(/serving 2 nodes/);
    const first = machineId.exec((await ask("plan", "node1")).stdout)?.[0];
    await cluster.manager.stop();
    await cluster.startManager();
    await cluster.manager.waitFor(/serving 2 nodes/);
    expect(machineId.exec((await ask("plan", "node1")).stdout)?.[0]).toBe(first);
    expect((await cluster.manager.stop()).code).toBe(0);
  });
});
