import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { bootFraction, currentTransfer, isStalled, stageDurations } from "./boot-progress.ts";
import { type BootEvent, type BootOccurrence, STAGES } from "./event.ts";
import { INITIAL_STATUS, type NodeStatus, nextStatus } from "./status.ts";

const mac = "dc:a6:32:70:da:b0" as Mac;
const client = "10.77.0.11" as Ipv4;
const START_MS = 1_700_000_000_000;

const pxeDiscover: BootOccurrence = {
  kind: "dhcp-request",
  message: "DISCOVER",
  mac,
  vendorClass: "PXEClient:Arch:00000:UNDI:002001",
  serial: "91cdf03d",
  model: "4",
};
const linuxDiscover: BootOccurrence = { kind: "dhcp-request", message: "DISCOVER", mac, vendorClass: "Linux ipconfig" };
const request = (path: string): BootOccurrence => ({ kind: "tftp-request", path, client });
const progress = (path: string, sentBytes: number, sizeBytes: number): BootOccurrence => ({
  kind: "tftp-progress",
  path,
  client,
  sentBytes,
  sizeBytes,
});
const complete = (path: string, sizeBytes: number, durationMs = 100): BootOccurrence => ({
  kind: "tftp-complete",
  path,
  client,
  sizeBytes,
  durationMs,
  retransmits: 1,
});
const mountRoot: BootOccurrence = { kind: "mount", tree: "root", client };
const activity: BootOccurrence = { kind: "root-activity", operations: 10, readBytes: 1, writtenBytes: 1, failures: 0 };
const joined = (bootId = "a"): BootOccurrence => ({ kind: "joined", bootId });
const up = (bootId = "a"): BootOccurrence => ({ kind: "up", bootId });

/** A Pi 4 that boots, at seconds from the start. */
const BOOT: [number, BootOccurrence][] = [
  [0, pxeDiscover],
  [1, { kind: "dhcp-reply", message: "OFFER", mac, address: client, responder: "server" }],
  [2, request("91cdf03d/start4.elf")],
  [3, complete("91cdf03d/start4.elf", 2000)],
  [4, progress("91cdf03d/kernel8.img", 4000, 8000)],
  [5, complete("91cdf03d/kernel8.img", 8000)],
  [6, request("91cdf03d/armstub8-gic.bin")],
  [8, linuxDiscover],
  [9, mountRoot],
  [10, activity],
  [20, up()],
];

function run(script: readonly (readonly [number, BootOccurrence])[], node = "node1") {
  return script.reduce((status, [second, occurrence], index) => {
    const event: BootEvent = { ...occurrence, sequence: index + 1, unixMs: START_MS + second * 1000, node };
    return nextStatus(status, event);
  }, INITIAL_STATUS);
}

function statusOf(script: readonly (readonly [number, BootOccurrence])[]): NodeStatus {
  return run(script).nodes.get("node1")!;
}

describe("the status of a node", () => {
  it("goes through the stages of a boot, and knows what it was told on the way", () => {
    const stages = BOOT.map((_, index) => statusOf(BOOT.slice(0, index + 1)).stage);
    expect(stages).toEqual([
      "dhcp",
      "dhcp",
      "firmware",
      "firmware",
      "firmware",
      "kernel",
      "kernel",
      "kernel",
      "root",
      "root",
      "up",
    ]);
    expect(statusOf(BOOT)).toMatchObject({ mac, serial: "91cdf03d", model: "4", address: client, bootsCompleted: 1 });
    expect(statusOf(BOOT).boot).toMatchObject({ sentBytes: 10_000, retransmits: 2, dhcpAttempts: 1, bootId: "a" });
  });

  it("gives the boot's timeline", () => {
    expect(stageDurations(statusOf(BOOT).boot!, START_MS + 99_000)).toEqual([
      { stage: "dhcp", fromMs: 0, durationMs: 2000 },
      { stage: "firmware", fromMs: 2000, durationMs: 3000 },
      { stage: "kernel", fromMs: 5000, durationMs: 4000 },
      { stage: "root", fromMs: 9000, durationMs: 11_000 },
      { stage: "up", fromMs: 20_000, durationMs: 0 },
    ]);
  });

  it("begins anew when the firmware asks again, and keeps the last good boot", () => {
    const again = statusOf([...BOOT, [100, pxeDiscover]]);
    expect(again).toMatchObject({ stage: "dhcp", bootsCompleted: 1 });
    expect(again.boot?.startedMs).toBe(START_MS + 100_000);
    expect(again.previousBoot?.bootId).toBe("a");
    expect(statusOf([...BOOT.slice(0, 9), [100, pxeDiscover]]).previousBoot).toBeUndefined();
  });

  it("counts a second DHCP of a Pi 3 to the same boot", () => {
    const status = statusOf([
      [0, pxeDiscover],
      [1, request("bootcode.bin")],
      [3, pxeDiscover],
      [4, request("b66c4c16/start.elf")],
    ]);
    expect(status.boot).toMatchObject({ startedMs: START_MS, dhcpAttempts: 2 });
    expect(status.stage).toBe("firmware");
  });

  it("sees a new boot in the first file where DHCP is somebody else's", () => {
    const [files, later] = [BOOT.slice(2), [60, request("91cdf03d/start4.elf")] as const];
    expect(statusOf(files)).toMatchObject({ stage: "up", bootsCompleted: 1 });
    expect(statusOf([...files, later])).toMatchObject({ stage: "firmware", boot: { startedMs: START_MS + 60_000 } });
  });

  it("knows of its last configuration, and of failures in a row since then", () => {
    const about = { fingerprint: "f", bootId: "a" };
    const failed: BootOccurrence = { kind: "configure-failed", ...about, message: "no" };
    const configured: BootOccurrence = { kind: "configured", ...about, changed: 2 };
    const twice = statusOf([...BOOT, [30, failed], [40, failed]]);
    expect(twice.configureFailed).toEqual({ ...about, unixMs: START_MS + 40_000, message: "no", attempts: 2 });
    // That it could not be reached is no sign of its life.
    expect(twice.lastSeenMs).toBe(START_MS + 20_000);
    expect(statusOf([...BOOT, [30, failed], [40, { ...failed, bootId: "b" }]]).configureFailed?.attempts).toBe(1);
    const done = statusOf([...BOOT, [30, failed], [40, configured]]);
    expect(done.configured).toEqual({ ...about, unixMs: START_MS + 40_000 });
    expect(done).not.toHaveProperty("configureFailed");
    expect(statusOf([...BOOT, [30, configured], [40, failed]])).toHaveProperty("configured");
  });

  it.each<BootOccurrence>([
    { kind: "reset" },
    { kind: "snapshot-restored", name: "s" },
    { kind: "cloned", from: "node2" },
  ])("is not configured any more when its files are others: $kind", (event) => {
    const status = statusOf([
      ...BOOT,
      [30, { kind: "configured", fingerprint: "f", bootId: "a", changed: 0 }],
      [40, event],
    ]);
    expect(status).not.toHaveProperty("configured");
  });

  it("is not moved by a renewal of Linux, a repeated report, or files fetched after the kernel", () => {
    const quiet: [number, BootOccurrence][] = [
      [30, linuxDiscover],
      [31, up()],
      [32, { kind: "mount", tree: "boot", client }],
      [33, activity],
    ];
    expect(statusOf([...BOOT, ...quiet])).toMatchObject({ stage: "up", bootsCompleted: 1 });
  });

  it("counts a boot that the manager did not see begin", () => {
    expect(statusOf([[0, activity]]).stage).toBe("root");
    expect(statusOf([[0, up("b")]])).toMatchObject({ stage: "up", bootsCompleted: 1, boot: { bootId: "b" } });
    expect(statusOf([...BOOT, [50, up("b")]])).toMatchObject({ bootsCompleted: 2, previousBoot: { bootId: "a" } });
  });

  it("falls silent at a shutdown", () => {
    expect(statusOf([...BOOT, [30, { kind: "shutdown-seen" }]])).toMatchObject({
      stage: "silent",
      stageSinceMs: START_MS + 30_000,
    });
  });

  it("stays silent while it still writes during its shutdown, and begins anew after it", () => {
    const down: [number, BootOccurrence][] = [...BOOT, [30, { kind: "shutdown-seen" }], [31, activity]];
    expect(statusOf(down)).toMatchObject({ stage: "silent", lastSeenMs: START_MS + 31_000 });
    expect(statusOf([...down, [60, mountRoot]])).toMatchObject({
      stage: "root",
      boot: { startedMs: START_MS + 60_000 },
    });
  });

  it("that does not answer stays what it was, until it answers, shuts down or boots", () => {
    const lost: BootOccurrence = { kind: "no-answer", address: client, sinceMs: START_MS + 25_000 };
    const silent: [number, BootOccurrence][] = [
      ...BOOT,
      [21, joined()],
      [60, lost],
      [61, { kind: "left", reason: "down" }],
    ];
    expect(statusOf(silent)).toMatchObject({ stage: "up", noAnswerSinceMs: START_MS + 25_000 });
    for (const next of [{ kind: "answers-again" }, { kind: "shutdown-seen" }, pxeDiscover, up("b")] as const) {
      expect(statusOf([...silent, [90, next]])).not.toHaveProperty("noAnswerSinceMs");
    }
    expect(
      statusOf([
        [0, pxeDiscover],
        [60, lost],
      ]),
    ).not.toHaveProperty("noAnswerSinceMs");
  });

  it("keeps the last thing that went wrong", () => {
    const refused: BootOccurrence = {
      kind: "mount-refused",
      path: "/bramble/node2/root",
      client,
      cause: "another-node",
      reason: "it belongs to node2",
    };
    expect(statusOf([[1, refused]]).lastProblem).toEqual({
      unixMs: START_MS + 1000,
      message: "/bramble/node2/root: it belongs to node2",
    });
  });

  it("shows the file under way and how far the boot is", () => {
    const first = statusOf(BOOT.slice(0, 5));
    expect(currentTransfer(first.boot!)).toMatchObject({
      path: "91cdf03d/kernel8.img",
      sentBytes: 4000,
      sizeBytes: 8000,
    });
    expect(bootFraction(first)).toBe(0.1);
    const second = statusOf([...BOOT, ...BOOT.slice(0, 5).map(([at, event]) => [at + 100, event] as const)]);
    expect(bootFraction(second)).toBeCloseTo(0.1 + 0.6 * 0.4);
    expect(bootFraction(statusOf(BOOT))).toBe(1);
  });

  it.each([
    [1, 60, false],
    [1, 62, true],
    [4, 60, true],
    [8, 100, false],
    [8, 160, true],
    [10, 100, false],
    [10, 140, true],
    [11, 9999, false],
  ])("with %i events seen is stalled at %i s: %s", (events, second, stalled) => {
    expect(isStalled(statusOf(BOOT.slice(0, events)), START_MS + second * 1000)).toBe(stalled);
  });

  it("is stalled when its root is busy for ever", () => {
    const busy = Array.from({ length: 70 }, (_, index) => [10 + index * 10, activity] as const);
    expect(isStalled(statusOf([...BOOT.slice(0, 9), ...busy]), START_MS + 705_000)).toBe(true);
  });
});

describe("the status of the cluster", () => {
  it("lists strangers until they have a node", () => {
    const stranger: BootEvent = { kind: "unknown-pi", mac, serial: "91cdf03d", sequence: 1, unixMs: START_MS };
    const seen = [stranger, { ...stranger, sequence: 2, unixMs: START_MS + 5 }].reduce(nextStatus, INITIAL_STATUS);
    expect([...seen.unknownPis.values()]).toEqual([
      { mac, serial: "91cdf03d", firstSeenMs: START_MS, lastSeenMs: START_MS + 5 },
    ]);
    expect(nextStatus(seen, { ...pxeDiscover, node: "node1", sequence: 3, unixMs: START_MS }).unknownPis.size).toBe(0);
  });

  it("lists the board that a node had before", () => {
    const events: BootOccurrence[] = [
      pxeDiscover,
      { kind: "unknown-pi", mac },
      { kind: "warning", message: "about node1" },
    ];
    const status = events.reduce(
      (before, event, index) =>
        nextStatus(before, {
          ...event,
          sequence: index + 1,
          unixMs: START_MS + index,
          ...(event.kind !== "unknown-pi" && { node: "node1" }),
        }),
      INITIAL_STATUS,
    );
    expect([...status.unknownPis.keys()]).toEqual([mac]);
  });

  it("does not grow with the strangers", () => {
    const status = Array.from(
      { length: 1000 },
      (_, index): BootEvent => ({
        kind: "unknown-pi",
        mac: `02:00:00:00:00:${index}` as Mac,
        sequence: index,
        unixMs: index,
      }),
    ).reduce(nextStatus, INITIAL_STATUS);
    expect(status.unknownPis.size).toBe(256);
    expect(status.unknownPis.has("02:00:00:00:00:999" as Mac)).toBe(true);
  });

  it("never changes what it was given", () => {
    const status = run(BOOT);
    const before = structuredClone(status);
    nextStatus(status, { ...pxeDiscover, node: "node1", sequence: 99, unixMs: START_MS + 99_000 });
    expect(status).toEqual(before);
  });

  it("holds for any order of events: the stage is one of the six, and only its boot's times are kept", () => {
    const occurrence = fc.constantFrom(...BOOT.map(([, event]) => event), { kind: "shutdown-seen" } as const);
    fc.assert(
      fc.property(fc.array(occurrence, { minLength: 1, maxLength: 40 }), (events) => {
        const status = statusOf(events.map((event, index) => [index * 7, event] as const));
        expect(STAGES).toContain(status.stage);
        for (const { durationMs, fromMs } of status.boot ? stageDurations(status.boot, status.lastSeenMs) : []) {
          expect(durationMs).toBeGreaterThanOrEqual(0);
          expect(fromMs).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

describe("a member of a cluster", () => {
  const left: BootOccurrence = { kind: "left", reason: "its managers do not hear it" };

  it("is joined after it came up, at the boot that was meant", () => {
    expect(statusOf([...BOOT, [30, joined()]])).toMatchObject({ stage: "joined", bootsCompleted: 1, hasJoined: true });
    expect(statusOf([...BOOT, [30, joined("b")]])).toMatchObject({ stage: "up" });
  });

  it("has its stages timed up to that", () => {
    const { boot } = statusOf([...BOOT, [50, joined()]]);
    expect(stageDurations(boot!, START_MS + 99_000).slice(-2)).toEqual([
      { stage: "up", fromMs: 20_000, durationMs: 30_000 },
      { stage: "joined", fromMs: 50_000, durationMs: 0 },
    ]);
  });

  it("stays joined whatever it does, until it is lost, goes down or boots again", () => {
    const member: typeof BOOT = [...BOOT, [30, joined()], [40, activity], [41, up()]];
    expect(statusOf(member)).toMatchObject({ stage: "joined", bootsCompleted: 1 });
    expect(statusOf([...member, [50, left]])).toMatchObject({ stage: "up", hasJoined: true });
    expect(statusOf([...member, [50, left], [60, joined()]])).toMatchObject({ stage: "joined" });
    expect(statusOf([...member, [50, { kind: "shutdown-seen" }]])).toMatchObject({ stage: "silent", hasJoined: true });
    expect(statusOf([...member, [50, pxeDiscover]])).toMatchObject({ stage: "dhcp", hasJoined: true });
    expect(statusOf([...member, [50, up("b")]])).toMatchObject({ stage: "up", bootsCompleted: 2 });
  });

  it("has forgotten that it was one when it is reset", () => {
    expect(statusOf([...BOOT, [30, joined()], [40, { kind: "reset" }]])).toMatchObject({ hasJoined: false });
  });

  it("shows what is done about it, which is no sign of life of its own", () => {
    const begun: BootOccurrence = { kind: "step-begun", step: "join", title: "join node1 as a worker" };
    const done: BootOccurrence = { kind: "step-done", step: "join", title: "join node1 as a worker", durationMs: 5 };
    const busy = statusOf([...BOOT, [30, begun]]);
    expect(busy).toMatchObject({ clusterStep: { title: "join node1 as a worker" }, lastSeenMs: START_MS + 20_000 });
    expect(statusOf([...BOOT, [30, begun], [31, done]]).clusterStep).toBeUndefined();
    expect(
      statusOf([...BOOT, [30, begun], [31, { kind: "manager-started", version: "1" }]]).clusterStep,
    ).toBeUndefined();
  });
});
