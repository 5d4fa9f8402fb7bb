/** `bramble top` beside a running manager, with a client on a real connection whose calls it must show. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootEvent } from "../../src/cluster/event.ts";
import type { ClusterActivityView, NodeActivityDetail } from "../../src/manager/cluster-activity.ts";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const cluster = new LoopbackCluster([
  '{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1 }',
  '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.2 }',
]);
const KIB = new Uint8Array(1024).fill(1);

describe.skipIf(requireTools(CLUSTER_TOOLS))("bramble top", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const top = (...words: string[]) => cluster.ask("top", ...words);
  const asked = async <T>(...words: string[]) => JSON.parse((await top("--json", "--once", ...words)).stdout) as T;

  it("shows nodes that do nothing", async () => {
    expect((await top("--once")).stdout.split("\n")).toEqual([
      "2 nodes · 0 op/s · read 0 B/s · written 0 B/s · means of 5 s",
      "NODE   OP/S  READ/S  WRITTEN/S  P50 ms  P99 ms  FAILED  BUSIEST FILE",
      "node1     -       -          -       -       -       -",
      "node2     -       -          -       -       -       -",
      "",
    ]);
  });

  /** Writes to a file while `look` looks, as rates are of the last seconds. */
  async function whileWriting(look: () => Promise<void>): Promise<void> {
    const peer = await NfsPeer.connect(cluster.port("nfs"), "127.0.0.2");
    const root = (await peer.mount("/bramble/node2/root")) as Uint8Array;
    const log = await peer.create(root, "app.log");
    for (let index = 0; index < 3; index++) await peer.lookup(root, "nothing here");
    let isOver = false;
    const writing = (async () => {
      while (!isOver) {
        await peer.write(log, 0, KIB, "fileSync");
        await new Promise((done) => setTimeout(done, 20));
      }
    })();
    // Workers tell each second.
    await new Promise((done) => setTimeout(done, 2000));
    await look().finally(() => {
      isOver = true;
    });
    await writing;
    peer.close();
  }

  it("shows what a node does: calls, bytes, times, refusals, files and users", async () => {
    await whileWriting(async () => {
      const { nodes, windowMs } = await asked<ClusterActivityView>();
      expect([windowMs, nodes.map(({ node }) => node)]).toEqual([5000, ["node1", "node2"]]);
      expect(nodes[0]!.totals.operations).toBe(0);
      const { operationsPerS, writtenBytesPerS, busiestFile, totals } = nodes[1]!;
      expect(operationsPerS).toBeGreaterThan(1);
      expect(writtenBytesPerS).toBeGreaterThan(1024);
      expect(busiestFile).toBe("/app.log");
      expect(totals).toMatchObject({ readBytes: 0, failures: 0 });
      // All but CREATE and three LOOKUPs were writes.
      expect(totals.writtenBytes).toBe(1024 * (totals.operations - 4));

      const detail = await asked<NodeActivityDetail>("node2");
      const [write, ...others] = detail.procedures;
      expect([write!.name, ...others.map(({ name }) => name).sort()]).toEqual(["WRITE", "CREATE", "LOOKUP"]);
      expect(write!.p50Ms).toBeGreaterThan(0);
      expect(write!.p99Ms).toBeGreaterThanOrEqual(write!.p50Ms!);
      expect(detail.refusals).toEqual([{ status: "NFS3ERR_NOENT", count: 3 }]);
      expect(detail.busy.written.map(({ path }) => path)).toEqual(["/app.log"]);
      expect(detail.busy.writers.map(({ uid }) => uid)).toEqual([0]);
    });
  });

  it("says so on the feed of events", async () => {
    const printed = cluster.run("watch", "--json");
    await printed.waitFor(/"kind":"root-activity"[^\n]*\n/);
    const events = printed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as BootEvent);
    await printed.stop();
    const activity = events.find(({ kind }) => kind === "root-activity");
    expect(activity).toMatchObject({ node: "node2", failures: 0, mostWritten: "/app.log" });
  });

  it("goes on until the manager ends where nobody watches", async () => {
    const lines = cluster.run("top", "--json");
    await lines.waitFor(/\n[^\n]*\n/);
    await lines.stop();
    expect(JSON.parse(lines.stdout.split("\n")[1]!)).toMatchObject({ windowMs: 5000 });
  });

  it("refuses a node that there is not", async () => {
    const { code, stderr } = await top("--once", "node7");
    expect([code, stderr]).toEqual([
      1,
      "bramble: Cannot show what node7 does: the manifest has no node of that name\n",
    ]);
  });
});
