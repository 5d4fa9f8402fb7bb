import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../nfs/latency-histogram.ts";
import { NFS_PROCEDURES } from "../nfs/procedures/table.ts";
import type { TreeActivity } from "../nfs/tree-counters.ts";
import { ClusterActivity } from "./cluster-activity.ts";
import type { BusyFiles } from "./data-plane/busy-files.ts";
import type { ServedTreeActivity } from "./data-plane/messages.ts";
import { RequestError } from "./request-error.ts";

const QUIET: BusyFiles = { called: [], read: [], written: [], writers: [] };
const READ = NFS_PROCEDURES.findIndex(({ name }) => name === "READ");

function setUp() {
  const clock = { nowMs: 1000, monotonicMs: () => clock.nowMs };
  const listed = [{ name: "node1" }, { name: "node2" }];
  return { clock, listed, activity: new ClusterActivity(clock, () => listed) };
}

/** Reads of one byte that took so long each. */
function reads(calls: number, tookMs: number): TreeActivity {
  const histogram = new LatencyHistogram();
  histogram.add(tookMs, calls);
  const procedures = [{ procedure: READ, calls, latency: histogram.take() }];
  return { operations: calls, readBytes: calls, writtenBytes: 0, procedures, refusals: [] };
}

function told(activity: TreeActivity, rest: Partial<ServedTreeActivity> = {}): ServedTreeActivity {
  return { node: "node1", kind: "root", treeId: 2, activity, busy: QUIET, ...rest };
}

describe("what nodes do", () => {
  it("is a mean over five seconds of both trees, and nothing later; totals stay", () => {
    const { clock, activity } = setUp();
    for (let second = 0; second < 5; second++) {
      activity.take([told(reads(80, 1)), told(reads(20, 1), { kind: "boot", treeId: 1 })]);
      clock.nowMs += 1000;
    }
    clock.nowMs -= 1;
    const [node1, node2] = activity.view().nodes;
    expect(node1).toMatchObject({ operationsPerS: 100, readBytesPerS: 100, totals: { operations: 500 } });
    expect(node2).toMatchObject({ node: "node2", operationsPerS: 0, totals: { operations: 0 } });
    clock.nowMs += 5000;
    expect(activity.view().nodes[0]).toEqual({
      node: "node1",
      operationsPerS: 0,
      readBytesPerS: 0,
      writtenBytesPerS: 0,
      totals: { operations: 500, readBytes: 500, writtenBytes: 0, failures: 0 },
    });
  });

  it("has the latency of all calls together, and of each procedure", () => {
    const { activity } = setUp();
    activity.take([told(reads(98, 1))]);
    activity.take([told(reads(2, 1000))]);
    const detail = activity.detail("node1");
    expect(detail.p50Ms).toBeCloseTo(1, 0);
    expect(detail.p99Ms).toBeGreaterThanOrEqual(1000);
    expect(detail.procedures).toEqual([
      { name: "READ", callsPerS: 20, p50Ms: detail.p50Ms, p99Ms: detail.p99Ms, calls: 100 },
    ]);
  });

  it("counts as failed what a local disk would not have refused", () => {
    const { activity } = setUp();
    const refusals: TreeActivity["refusals"] = [
      ["NFS3ERR_NOENT", 70],
      ["NFS3ERR_NOSPC", 2],
      ["NFS3ERR_STALE", 1],
    ];
    activity.take([told({ ...reads(73, 1), refusals })]);
    activity.take([told({ ...reads(2, 1), refusals: [["NFS3ERR_STALE", 2]] })]);
    const detail = activity.detail("node1");
    expect(detail.totals.failures).toBe(5);
    expect(detail.refusals).toEqual([
      { status: "NFS3ERR_NOENT", count: 70 },
      { status: "NFS3ERR_STALE", count: 3 },
      { status: "NFS3ERR_NOSPC", count: 2 },
    ]);
  });

  it("names the busiest files of both trees, as long as they are", () => {
    const { clock, activity } = setUp();
    const written = [{ path: "/var/log/syslog", perS: 10 }];
    const writers = [{ uid: 0, perS: 10 }];
    activity.take([
      told(reads(1, 1), { busy: { called: [{ path: "/etc", perS: 900 }], read: [], written, writers } }),
      told(reads(1, 1), {
        kind: "boot",
        treeId: 1,
        busy: { called: [], read: [], written: [{ path: "/cmdline.txt", perS: 20 }], writers: [{ uid: 0, perS: 20 }] },
      }),
    ]);
    const { busy, busiestFile } = activity.detail("node1");
    expect(busiestFile).toBe("boot:/cmdline.txt");
    expect(busy.written.map(({ path }) => path)).toEqual(["boot:/cmdline.txt", "/var/log/syslog"]);
    expect(busy.writers).toEqual([{ uid: 0, perS: 30 }]);
    clock.nowMs += 5000;
    expect(activity.detail("node1").busy).toEqual(QUIET);
  });

  it("goes with a node that the manifest no longer has, and is refused", () => {
    const { listed, activity } = setUp();
    activity.take([told(reads(1, 1))]);
    const [node1] = listed.splice(0, 1);
    expect(activity.view().nodes.map(({ node }) => node)).toEqual(["node2"]);
    expect(() => activity.detail("node1")).toThrow(RequestError);
    listed.push(node1!);
    expect(activity.detail("node1").totals.operations).toBe(0);
  });
});
