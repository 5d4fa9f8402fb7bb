/** `bramble cluster` with a manager that knows nodes which no shell reaches: what is said, and what is remembered. */
import { appendFileSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootEvent } from "../../src/cluster/event.ts";
import { UP_REPORT_PATH } from "../../src/cluster/generated/index.ts";
import type { ClusterView } from "../../src/manager/cluster-control.ts";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const BOOT_ID = "7a1fc2f0-9d5f-4f0b-8f7c-0c4ce4e0c001";
const SWARM = { cluster: ["orchestrator: { kind: swarm }"] };

describe.skipIf(requireTools([...CLUSTER_TOOLS, "ssh"]))("bramble cluster", () => {
  const cluster = new LoopbackCluster([
    '{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.11 }',
    '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.12 }',
  ]);
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const view = async () => JSON.parse((await cluster.ask("--json", "cluster", "status")).stdout) as ClusterView;

  it("says that there is none without an orchestrator", async () => {
    for (const word of ["status", "plan", "apply"]) {
      const { code, stderr } = await cluster.ask("cluster", word);
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining("the manifest has none; add a line as orchestrator:"),
      ]);
    }
  });

  it("waits for the first manager, and lists members", async () => {
    cluster.writeManifest(SWARM);
    await expect.poll(async () => (await cluster.ask("cluster", "status")).code, { timeout: 20_000 }).toBe(0);
    await expect
      .poll(async () => (await view()).waiting, { timeout: 20_000 })
      .toEqual(["the swarm is made by node1, its first manager, which is not ready for that"]);
    const { stdout } = await cluster.ask("cluster", "status");
    expect(stdout).toMatch(/^node1 +manager +silent +127\.0\.0\.11/m);
    expect(stdout).toMatch(/^node2 +worker +silent/m);
    expect(stdout).toContain("swarm: not yet as it should be");
    expect((await cluster.ask("cluster", "plan")).stdout).toMatch(/^waits: the swarm is made by node1/m);
  });

  it("names a node that is up and not reached, in ssh's words, also in bramble status", async () => {
    await reportUp("node1", "127.0.0.11");
    await expect
      .poll(async () => (await view()).problems.map(({ cause, node }) => `${cause} ${node}`), { timeout: 20_000 })
      .toEqual(["node-unreachable node1"]);
    const { stdout } = await cluster.ask("status");
    expect(stdout).toMatch(/Cannot look at Docker on node1: node1 is not reached by SSH: .*(refused|timed out|lost)/);
    const { code, stdout: said } = await cluster.ask("cluster", "apply");
    expect([code, said]).toEqual([1, expect.stringContaining("node-unreachable")]);
  });

  it("does not give the files of a member to another node, which would take itself for it; those of a snapshot it does", async () => {
    await cluster.manager.stop();
    const journal = cluster.work.path("state/events.ndjson");
    const { sequence } = JSON.parse(readFileSync(journal, "utf8").trim().split("\n").at(-1)!) as BootEvent;
    const joined = { kind: "joined", bootId: BOOT_ID, node: "node1", sequence: sequence + 1, unixMs: Date.now() };
    appendFileSync(journal, `${JSON.stringify(joined)}\n`);
    await cluster.startManager();
    expect((await view()).members[0]).toMatchObject({ name: "node1", stage: "joined" });
    const { code, stderr } = await cluster.ask("nodes", "clone", "node1", "node2");
    expect([code, stderr]).toEqual([
      1,
      "bramble: Cannot clone node1 to node2: node1 is a member of the cluster, and its files say which; clone a snapshot from before it joined (--snapshot), or have it leave: bramble cluster remove node1\n",
    ]);
    await cluster.ask("nodes", "snapshot", "node1", "first");
    expect((await cluster.ask("nodes", "clone", "node1", "node2", "--snapshot", "first")).code).toBe(0);
  });

  it("remembers who is drained and out, over a restart of the manager", async () => {
    await cluster.ask("cluster", "drain", "node2");
    await cluster.ask("cluster", "remove", "node1");
    // It is not reached, so it could not leave yet, and its files are still a member's.
    expect((await cluster.ask("nodes", "clone", "node1", "node2")).stderr).toContain(
      "node1 is a member of the cluster",
    );
    await cluster.restartManager();
    expect((await view()).members.map(({ name, wish }) => `${name} ${wish}`)).toEqual(["node1 out", "node2 drained"]);
    await cluster.ask("cluster", "drain", "--undo", "node2");
    await cluster.ask("cluster", "join", "node1");
    expect((await view()).members.map(({ wish }) => wish)).toEqual(["in", "in"]);
  });

  it("is dissolved only when that is really meant, and made again by apply", async () => {
    const refused = await cluster.ask("cluster", "leave");
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining("Cannot dissolve the cluster without --yes"),
    ]);
    await cluster.ask("cluster", "leave", "--yes");
    expect(await view()).toMatchObject({ isDissolved: true, members: [{ wish: "out" }, { wish: "out" }] });
    const late = await cluster.ask("cluster", "drain", "node2");
    expect([late.code, late.stderr]).toEqual([1, expect.stringContaining("the cluster was dissolved")]);
    await cluster.ask("cluster", "apply");
    expect(await view()).toMatchObject({ isDissolved: false });
  });

  it("knows no node that the manifest does not", async () => {
    const { code, stderr } = await cluster.ask("cluster", "drain", "node9");
    expect([code, stderr]).toEqual([1, "bramble: Cannot drain node9: the manifest has no node of that name\n"]);
  });

  /** Writes what a node writes when it is up. */
  async function reportUp(node: string, address: string): Promise<void> {
    const peer = await NfsPeer.connect(cluster.port("nfs"), address);
    let handle = (await peer.mount(`/bramble/${node}/root`)) as Uint8Array;
    const folders = UP_REPORT_PATH.split("/").slice(1);
    const name = folders.pop()!;
    for (const folder of folders) ({ handle } = await peer.lookup(handle, folder));
    const text = `${BOOT_ID} 12.34 up\n`;
    await peer.write(await peer.create(handle, name), 0, Buffer.from(text), "fileSync");
    peer.close();
  }
});
