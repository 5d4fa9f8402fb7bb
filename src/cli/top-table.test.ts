import { describe, expect, it } from "vitest";
import type { NodeActivityDetail, NodeActivityView } from "../manager/cluster-activity.ts";
import { cutPath, formatRate, nodeTopTable, topTable } from "./top-table.ts";

const TERMINAL = { columns: 80, rows: 24 };

function activityOf(node: string, operationsPerS: number, rest: Partial<NodeActivityView> = {}): NodeActivityView {
  const totals = { operations: 0, readBytes: 0, writtenBytes: 0, failures: 0 };
  return { node, operationsPerS, readBytesPerS: 0, writtenBytesPerS: 0, totals, ...rest };
}

const clusterOf = (...nodes: NodeActivityView[]) => ({ windowMs: 5000, nodes });

describe("the table of all nodes", () => {
  it("has the busiest node first, numbers at the right, and the end of a long path, in 80 columns", () => {
    const busy = activityOf("raspberrypi-12", 12_345.6, {
      readBytesPerS: 123.4 * 1024 ** 2,
      writtenBytesPerS: 1.5 * 1024 ** 2,
      p50Ms: 0.021,
      p99Ms: 14.26,
      busiestFile: "/var/lib/docker/overlay2/0123456789abcdef/diff/usr/lib/aarch64-linux-gnu/libc.so.6",
      totals: { operations: 1, readBytes: 1, writtenBytes: 1, failures: 1234 },
    });
    const table = topTable(clusterOf(activityOf("idle", 0), activityOf("node1", 0.4), busy), TERMINAL);
    const lines = table.split("\n");
    expect(lines).toEqual([
      "3 nodes · 12,346 op/s · read 123 MiB/s · written 1.5 MiB/s · means of 5 s",
      "NODE              OP/S   READ/S  WRITTEN/S  P50 ms  P99 ms  FAILED  BUSIEST FILE",
      "raspberrypi-12  12,346  123 MiB    1.5 MiB    0.02    14.3   1,234  …u/libc.so.6",
      "node1              0.4        -          -       -       -       -",
      "idle                 -        -          -       -       -       -",
    ]);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it("says how many nodes have no place on the screen, and shows as many as do", () => {
    const nodes = (count: number) =>
      clusterOf(...Array.from({ length: count }, (_, index) => activityOf(`n${index}`, 1)));
    const full = topTable(nodes(22), TERMINAL).split("\n");
    expect([full.length, full.at(-1)]).toEqual([24, expect.stringMatching(/^n21 /)]);
    const more = topTable(nodes(23), TERMINAL).split("\n");
    expect([more.length, more.at(-1)]).toEqual([24, "and 2 nodes more, less busy"]);
  });
});

it("shows one node by procedure, with its busy files, writers and refusals, in 80 columns", () => {
  const detail: NodeActivityDetail = {
    ...activityOf("node1", 1234, { readBytesPerS: 2048, writtenBytesPerS: 4096, p50Ms: 0.02, p99Ms: 3.5 }),
    windowMs: 5000,
    totals: { operations: 123_456, readBytes: 1024 ** 3, writtenBytes: 1024 ** 2, failures: 0 },
    procedures: [
      { name: "GETATTR", callsPerS: 1200, p50Ms: 0.01, p99Ms: 0.1, calls: 120_000 },
      { name: "COMMIT", callsPerS: 0, calls: 3 },
    ],
    refusals: [{ status: "NFS3ERR_NOENT", count: 17 }],
    busy: {
      called: [{ path: "/usr", perS: 1000 }],
      read: [{ path: "/long ago", perS: 0.4 }],
      written: [{ path: `/var/log/journal/${"0123456789abcdef".repeat(8)}/system.journal`, perS: 4096 }],
      writers: [{ uid: 0, perS: 4096 }],
    },
  };
  const lines = nodeTopTable(detail, TERMINAL).split("\n");
  expect(lines).toEqual([
    "node1   1,234 op/s · read 2.0 KiB/s · written 4.0 KiB/s · means of 5 s",
    "p50 0.02 ms · p99 3.50 ms",
    "since the start: 123,456 op · read 1.0 GiB · written 1.0 MiB · 0 failures",
    "",
    "PROCEDURE  CALLS/S  P50 ms  P99 ms    CALLS",
    "GETATTR      1,200    0.01    0.10  120,000",
    "COMMIT           -       -       -        3",
    "",
    "WRITTEN/S  FILE, IN THE LAST 10 s",
    expect.stringMatching(/^ {2}4\.0 KiB {2}….*\/system\.journal$/),
    "",
    "CALLS/S  FILE, IN THE LAST 10 s",
    "  1,000  /usr",
    "",
    "written by   uid 0: 4.0 KiB/s",
    "",
    "refused   NFS3ERR_NOENT 17",
  ]);
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
});

it.each([
  ["a path that fits", "/etc/motd", 9, "/etc/motd"],
  ["the end of one that does not", "/etc/motd", 8, "…tc/motd"],
  ["no half of a character", "/🍇🍇🍇", 3, "…🍇🍇"],
])("keeps %s", (_, path, columns, shown) => {
  expect(cutPath(path, columns)).toBe(shown);
});

it.each([
  [0, "0"],
  [0.04, "0.0"],
  [9.94, "9.9"],
  [9.96, "10"],
  [1234.5, "1,235"],
])("shows a rate of %d as %s", (perS, shown) => {
  expect(formatRate(perS)).toBe(shown);
});
