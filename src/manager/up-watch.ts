/** What the reports mean that nodes write into their own roots: up, or going down. */
import type { Report } from "../boot/report.ts";
import { type BootOccurrence, isUp } from "../cluster/event.ts";
import type { UpReport } from "../cluster/generated/index.ts";
import type { ClusterStatus } from "../cluster/status.ts";

/** A node has just written this. What it says of its storage and settings comes after `up`: that may begin a boot. */
export function tellUpReport(up: UpReport, node: string, report: Report): void {
  if (up.state !== "settings") report(occurrenceOf(up, node), node);
  if (up.state === "up" && up.storage) report({ kind: "storage-tried", ...up.storage }, node);
  const settings = up.state === "up" || up.state === "settings" ? up.settings : undefined;
  if (settings) report({ kind: "settings-made", settings }, node);
}

/**
 * Tells what a node wrote in the last moments of a manager or worker that was killed: the write was answered, so the node
 * does not repeat it, and the journal may not have it. A report of an earlier boot says nothing new.
 */
export function catchUpWithReport(found: UpReport, node: string, status: ClusterStatus, report: Report): void {
  const known = status.nodes.get(node);
  const isOfThisBoot = known?.boot?.bootId === found.bootId;
  // Only a node that is up speaks of its settings; it may have said so to the manager that was killed.
  if (found.state === "settings" && isOfThisBoot) tellUpReport(found, node, report);
  const latest: UpReport = found.state === "settings" ? { ...found, state: "up" } : found;
  const isNews =
    latest.state === "up"
      ? // One that never booted here has it from the node whose files it was given.
        known?.boot !== undefined &&
        !known.hasOtherFiles &&
        !isOfThisBoot &&
        known.previousBoot?.bootId !== found.bootId
      : latest.state === "down" && isOfThisBoot && isUp(known?.stage);
  if (isNews) tellUpReport(latest, node, report);
}

function occurrenceOf(up: Exclude<UpReport, { state: "settings" }>, node: string): BootOccurrence {
  switch (up.state) {
    case "up":
      return { kind: "up", bootId: up.bootId };
    case "down":
      return { kind: "shutdown-seen" };
    case "copy-failed":
      return {
        kind: "warning",
        message: `Cannot keep the root of ${node} in memory: copying it failed; its console says why, and it starts again`,
        about: "root-copy-failed",
      };
    case "memory-short": {
      const [needed, available] = [up.neededKiB, up.availableKiB].map((kib) => Math.ceil(kib / 1024));
      const message = `Cannot keep the root of ${node} in memory: it needs ${needed} MiB, and ${available} MiB are free; use root: ephemeral, or a smaller image`;
      return { kind: "warning", message, about: "root-too-large" };
    }
  }
}
