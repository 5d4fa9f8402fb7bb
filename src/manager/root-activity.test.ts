import { expect, it } from "vitest";
import type { BootOccurrence } from "../cluster/event.ts";
import { LatencyHistogram } from "../nfs/latency-histogram.ts";
import type { ServedTreeActivity } from "./data-plane/messages.ts";
import { rootActivity } from "./root-activity.ts";

it("tells what a root did, how long answers took, and which files were busy; nothing of the boot tree", () => {
  const told: BootOccurrence[] = [];
  const take = rootActivity((occurrence) => void told.push(occurrence));
  const histogram = new LatencyHistogram();
  histogram.add(1, 9);
  histogram.add(100, 1);
  const root: ServedTreeActivity = {
    node: "node1",
    kind: "root",
    treeId: 2,
    activity: {
      operations: 10,
      readBytes: 100,
      writtenBytes: 1000,
      procedures: [{ procedure: 6, calls: 10, latency: histogram.take() }],
      refusals: [
        ["NFS3ERR_NOENT", 3],
        ["NFS3ERR_NOSPC", 2],
      ],
    },
    busy: { called: [], read: [{ path: "/a", perS: 1 }], written: [{ path: "/b", perS: 1 }], writers: [] },
  };
  take([{ ...root, kind: "boot" }, root]);
  const quiet = { operations: 1, readBytes: 0, writtenBytes: 0, procedures: [], refusals: [] };
  take([{ ...root, activity: quiet, busy: { called: [], read: [], written: [], writers: [] } }]);
  expect(told).toEqual([
    {
      kind: "root-activity",
      operations: 10,
      readBytes: 100,
      writtenBytes: 1000,
      failures: 2,
      failed: { NFS3ERR_NOSPC: 2 },
      p50Ms: expect.closeTo(1, 0),
      p99Ms: expect.closeTo(114.7, 1),
      mostRead: "/a",
      mostWritten: "/b",
    },
    { kind: "root-activity", operations: 1, readBytes: 0, writtenBytes: 0, failures: 0 },
  ]);
});
