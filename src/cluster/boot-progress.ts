/** What a status means at a moment: whether a node is stalled, how far its boot is, how long each stage took. */
import { isUp, STAGES, type Stage } from "./event.ts";
import type { BootRun, FileTransfer, NodeStatus } from "./status.ts";

/**
 * A stage without a sign of life for so long has come to a halt. DHCP: the firmware tries for 45 s. Firmware: 30 s for
 * one file. Kernel: it waits up to 120 s for a link. Root: services may be quiet while they wait for each other.
 */
const QUIET_MAX_MS: Partial<Record<Stage, number>> = { dhcp: 60_000, firmware: 45_000, kernel: 150_000, root: 120_000 };
/** Busy, but never up: even a Pi 3 with a desktop gets there sooner. */
const ROOT_MAX_MS = 600_000;

/** Derived from stage and clock, never stored. Silent and up nodes are not stalled. */
export function isStalled(status: NodeStatus, nowMs: number): boolean {
  const quietMax = QUIET_MAX_MS[status.stage];
  if (quietMax === undefined) return false;
  const isLate = status.stage === "root" && nowMs - status.stageSinceMs > ROOT_MAX_MS;
  return isLate || nowMs - status.lastSeenMs > quietMax;
}

/** The file that is on its way now. */
export function currentTransfer(boot: BootRun): FileTransfer | undefined {
  return boot.transfers.findLast((file) => file.completeMs === undefined);
}

/** Part of a boot that is over when a stage is reached; the files take most of the firmware's share. */
const SHARE_AT: Record<Stage, number> = {
  silent: 0,
  dhcp: 0.05,
  firmware: 0.1,
  kernel: 0.5,
  root: 0.6,
  up: 1,
  joined: 1,
};

/** From 0 to 1. Within the firmware stage by the bytes that the last boot needed, when one is known. */
export function bootFraction(status: NodeStatus): number {
  const base = SHARE_AT[status.stage];
  const expectedBytes = status.previousBoot?.sentBytes;
  if (status.stage !== "firmware" || !expectedBytes || !status.boot) return base;
  const running = currentTransfer(status.boot)?.sentBytes ?? 0;
  const done = Math.min(1, (status.boot.sentBytes + running) / expectedBytes);
  return base + done * (SHARE_AT.kernel - base);
}

export interface StageDuration {
  stage: Stage;
  /** Since the boot's first sign. */
  fromMs: number;
  durationMs: number;
}

/** The boot's timeline: how long it stood at each stage it reached. `nowMs` ends the last one, unless it is `up` or `joined`. */
export function stageDurations(boot: BootRun, nowMs: number): StageDuration[] {
  const reached = STAGES.flatMap((stage) => {
    const atMs = boot.reachedMs[stage];
    return atMs === undefined ? [] : [{ stage, atMs }];
  });
  return reached.map(({ stage, atMs }, index) => {
    const untilMs = reached[index + 1]?.atMs ?? (isUp(stage) ? atMs : nowMs);
    return { stage, fromMs: atMs - boot.startedMs, durationMs: untilMs - atMs };
  });
}
