import { describe, expect, it } from "vitest";
import type { BootOccurrence } from "../cluster/event.ts";
import { UP_REPORT_PATH } from "../cluster/generated/index.ts";
import { INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import { readUpReport, UpReportWatch } from "./data-plane/up-report-watch.ts";
import { catchUpWithReport, tellUpReport } from "./up-watch.ts";

const BOOT_A = "aaaaaaaa-0000-4000-8000-000000000000";
const BOOT_B = "bbbbbbbb-0000-4000-8000-000000000000";
const BOOT_C = "cccccccc-0000-4000-8000-000000000000";

/** A root that holds this report, or none. */
function rootWith(text: string | undefined) {
  return {
    lookupPath: (path: string) => (path === UP_REPORT_PATH && text !== undefined ? 7 : undefined),
    readSync: (_: number, target: Uint8Array) => new TextEncoder().encodeInto(text ?? "", target).written,
  };
}

const DISCOVER = { kind: "dhcp-request", message: "DISCOVER", mac: "dc:a6:32:00:00:01", vendorClass: "PXEClient" };
const up = (bootId: string) => ({ kind: "up", bootId });

describe("after a manager was killed", () => {
  it.each<[string, object[], string | undefined, object[]]>([
    ["a boot that the journal lost is told", [DISCOVER], `${BOOT_A} 12.5 up\n`, [up(BOOT_A)]],
    ["a node that never booted has its report with another node's files", [], `${BOOT_A} 12.5 up\n`, []],
    ["a boot that it has is not told again", [DISCOVER, up(BOOT_A)], `${BOOT_A} 12.5 up\n`, []],
    ["the boot before says nothing of the one under way", [up(BOOT_A), DISCOVER], `${BOOT_A} 12.5 up\n`, []],
    ["a new boot is told after an old one", [up(BOOT_A), DISCOVER], `${BOOT_B} 12.5 up\n`, [up(BOOT_B)]],
    [
      "a boot of long ago came back with a snapshot",
      [up(BOOT_A), DISCOVER, up(BOOT_B), DISCOVER, up(BOOT_C), { kind: "snapshot-restored", name: "s" }],
      `${BOOT_A} 12.5 up\n`,
      [],
    ],
    [
      "a boot of another node came with its files",
      [up(BOOT_A), { kind: "cloned", from: "node2" }, DISCOVER],
      `${BOOT_B} 12.5 up\n`,
      [],
    ],
    [
      "a boot is told again when one has come up since a snapshot came back",
      [{ kind: "snapshot-restored", name: "s" }, DISCOVER, up(BOOT_A), DISCOVER],
      `${BOOT_B} 12.5 up\n`,
      [up(BOOT_B)],
    ],
    ["a shutdown that it lost is told", [up(BOOT_A)], `${BOOT_A} 99.9 down\n`, [{ kind: "shutdown-seen" }]],
    ["an old shutdown is not", [up(BOOT_A), { kind: "shutdown-seen" }, DISCOVER], `${BOOT_A} 99.9 down\n`, []],
    [
      "what a node says of its settings is told again",
      [DISCOVER, up(BOOT_A)],
      `${BOOT_A} 99.9 settings; logs no-space\n`,
      [{ kind: "settings-made", settings: [{ setting: "logs", state: "no-space" }] }],
    ],
    [
      "and that it is up, where the journal lost that",
      [DISCOVER],
      `${BOOT_A} 99.9 settings; swap ready\n`,
      [up(BOOT_A), { kind: "settings-made", settings: [{ setting: "swap", state: "ready" }] }],
    ],
    ["a root that found no room tells it again itself", [DISCOVER], `${BOOT_A} 9.9 memory-short 9000 512\n`, []],
    ["a report cut short is left alone", [DISCOVER], `${BOOT_A} 12`, []],
    ["a node that never reported has nothing to tell", [DISCOVER], undefined, []],
  ])("%s", (_, journal, text, expected) => {
    const status = journal.reduce(
      (before: typeof INITIAL_STATUS, occurrence, index) =>
        nextStatus(before, { ...(occurrence as BootOccurrence), node: "node1", sequence: index + 1, unixMs: index }),
      INITIAL_STATUS,
    );
    const told: object[] = [];
    const found = readUpReport(rootWith(text));
    if (found) catchUpWithReport(found, "node1", status, (occurrence, node) => told.push({ ...occurrence, node }));
    expect(told).toEqual(expected.map((occurrence) => ({ ...occurrence, node: "node1" })));
  });
});

describe("a report that is written", () => {
  it.each<[string, object[]]>([
    [`${BOOT_A} 12.5 up\n`, [up(BOOT_A)]],
    [`${BOOT_A} 99.9 down\n`, [{ kind: "shutdown-seen" }]],
    [
      `${BOOT_A} 12.5 up storage ready 8000000 8100000\n`,
      [up(BOOT_A), { kind: "storage-tried", state: "ready", freeKiB: 8_000_000, sizeKiB: 8_100_000 }],
    ],
    [`${BOOT_A} 12.5 up storage no-space\n`, [up(BOOT_A), { kind: "storage-tried", state: "no-space" }]],
    [`${BOOT_A} 12.5 up storage rubbish\n`, [up(BOOT_A)]],
    [
      `${BOOT_A} 12.5 up storage no-space; logs ready; swap no-zram\n`,
      [
        up(BOOT_A),
        { kind: "storage-tried", state: "no-space" },
        {
          kind: "settings-made",
          settings: [
            { setting: "logs", state: "ready" },
            { setting: "swap", state: "no-zram" },
          ],
        },
      ],
    ],
    [
      `${BOOT_A} 3612.5 settings; logs full 100 65536\n`,
      [{ kind: "settings-made", settings: [{ setting: "logs", state: "full", freeKiB: 100, sizeKiB: 65536 }] }],
    ],
    [
      `${BOOT_A} 9.9 memory-short 901121 524288\n`,
      [
        {
          kind: "warning",
          message:
            "Cannot keep the root of node1 in memory: it needs 881 MiB, and 512 MiB are free; use root: ephemeral, or a smaller image",
          about: "root-too-large",
        },
      ],
    ],
    [
      `${BOOT_A} 9.9 copy-failed\n`,
      [
        {
          kind: "warning",
          message:
            "Cannot keep the root of node1 in memory: copying it failed; its console says why, and it starts again",
          about: "root-copy-failed",
        },
      ],
    ],
    [`${BOOT_A} 9.9 memory-short many few\n`, []],
    [`${BOOT_A} 9.9 gone\n`, []],
  ])("%j is told as an event", (text, expected) => {
    const told: object[] = [];
    const watch = new UpReportWatch((by, up) =>
      tellUpReport(up, by, (occurrence, node) => told.push({ ...occurrence, node })),
    );
    watch.changed("node1", rootWith(text), { fileId: 8 });
    expect(told).toEqual([]);
    watch.changed("node1", rootWith(text), { fileId: 7 });
    expect(told).toEqual(expected.map((occurrence) => ({ ...occurrence, node: "node1" })));
  });
});
