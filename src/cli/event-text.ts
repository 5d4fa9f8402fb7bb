import { storageProblem } from "../cluster/container-storage.ts";
import type { BootEvent } from "../cluster/event.ts";
import { settingProblem } from "../cluster/setting-report.ts";
import { coloured, formatBytes, formatCount, formatDuration } from "./table.ts";

/** One line for one event; `undefined` for those that only move a progress bar. */
export function eventText(event: BootEvent): string | undefined {
  const what = describe(event);
  return what === undefined ? undefined : eventLine(event, what);
}

/** When, to whom, what. */
export function eventLine(event: BootEvent, what: string): string {
  return `${clockTime(event.unixMs)}  ${(event.node ?? "-").padEnd(10)}  ${what}`;
}

function clockTime(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(11, 23);
}

function describe(event: BootEvent): string | undefined {
  switch (event.kind) {
    case "dhcp-request": {
      const who = [event.model && `Pi ${event.model}`, event.serial && `serial ${event.serial}`]
        .filter(Boolean)
        .join(", ");
      return `dhcp  ${event.message} from ${event.mac}${who && ` (${who})`}`;
    }
    case "dhcp-reply":
      return `dhcp  ${event.message} by ${event.responder}${event.address ? `: ${event.address}` : ""}`;
    case "dhcp-ignored":
      return `dhcp  no answer to ${event.mac}: ${event.reason}`;
    case "dhcp-other-server":
      return coloured(
        `dhcp  ${event.message} by ${event.server}${event.address ? `: ${event.address}` : ""} to ${event.mac} (boot: ${event.boot})`,
        "dim",
      );
    case "address-conflict":
      return coloured(`dhcp  ${event.address} is not free for ${event.mac}: ${event.holder} uses it`, "yellow");
    case "unknown-pi":
      return coloured(
        `dhcp  an unknown Pi${event.model ? ` ${event.model}` : ""} asks: ${event.mac}${event.serial ? `, serial ${event.serial}` : ""}`,
        "yellow",
      );
    case "adopted": {
      const who = [event.model && `Pi ${event.model}`, event.serial && `serial ${event.serial}`, event.mac];
      return coloured(`adopted: ${who.filter(Boolean).join(", ")}; answered when it asks again`, "green");
    }
    case "tftp-request":
    case "tftp-progress":
    case "root-activity":
    case "planned":
    // One boot has hundreds: `bramble logs` shows them.
    case "console-line":
      return undefined;
    case "tftp-probed":
      return coloured(`tftp  ${event.path} is there (${formatBytes(event.sizeBytes)})`, "dim");
    case "tftp-missing":
      return coloured(`tftp  ${event.path} is not there`, "dim");
    case "tftp-complete": {
      const again = event.retransmits > 0 ? `, ${event.retransmits} sent again` : "";
      return `tftp  ${event.path}  ${formatBytes(event.sizeBytes)} in ${formatDuration(event.durationMs)}${again}`;
    }
    case "tftp-failed":
      return coloured(`tftp  ${event.path} failed: ${event.reason}`, "red");
    case "mount":
      return `nfs   mounted its ${event.tree} tree from ${event.client}`;
    case "mount-refused":
      return coloured(`nfs   refused ${event.path} to ${event.client}: ${event.reason}`, "red");
    case "nfs-version-refused":
      return coloured(`nfs   refused ${event.program} version ${event.version} to ${event.client}`, "red");
    case "up":
      return coloured(`up    boot ${event.bootId.slice(0, 8)}`, "green");
    case "storage-tried": {
      const problem = storageProblem(event.node ?? "the node", event);
      if (problem !== undefined) return coloured(`store ${problem}`, "yellow");
      const [free, size] = [event.freeKiB, event.sizeKiB].map((kib) => formatBytes((kib ?? 0) * 1024));
      return `store containers can be kept: ${free} of ${size} are free`;
    }
    case "joined":
      return coloured("joined: a member of the cluster, and work was tried on it", "green");
    case "left":
      return coloured(`left: no member of the cluster now: ${event.reason}`, "yellow");
    case "step-begun":
      return `step  ${event.title}`;
    case "step-done":
      return `step  ${event.title}: done in ${formatDuration(event.durationMs)}`;
    case "step-failed":
      return coloured(`step  ${event.title}: failed: ${event.message}`, "red");
    case "cluster-problems":
      return event.problems.length === 0
        ? coloured("cluster: nothing stands in its way any more", "green")
        : coloured(`cluster: ${event.problems.map(({ message }) => message).join("; ")}`, "yellow");
    case "configured":
      return coloured(`conf  configured: ${formatCount(event.changed, "task")} changed something`, "green");
    case "configure-failed":
      return coloured(`conf  ${event.message}`, "red");
    case "settings-made": {
      const { node = "the node", settings } = event;
      const problems = settings.flatMap((setting) => settingProblem(node, setting) ?? []);
      if (problems.length > 0) return coloured(`own   ${problems.join("; ")}`, "yellow");
      return `own   ${settings.map(({ setting }) => setting).join(" and ")}: as the manifest says`;
    }
    case "shutdown-seen":
      return "down  shuts down or reboots";
    case "no-answer":
      return coloured(`lost  nobody answers for ${event.address} any more`, "red");
    case "answers-again":
      return coloured("back  it answers again", "green");
    case "reset":
      return "reset: what the node wrote is dropped";
    case "snapshot-taken":
      return `snapshot ${event.name} is taken`;
    case "snapshot-restored":
      return `restored: its files are as they were at snapshot ${event.name}`;
    case "cloned":
      return `cloned: it has the files of ${event.from}${event.snapshot === undefined ? "" : ` at snapshot ${event.snapshot}`}`;
    case "manager-started":
      return `manager ${event.version} started`;
    case "manager-stopping":
      return "manager stops";
    case "worker-crashed": {
      const again = event.crashes > 1 ? `, ${event.crashes} times in a row` : "";
      const next = event.retryMs > 0 ? `next try in ${formatDuration(event.retryMs)}` : "it is started again";
      return coloured(`worker ${event.worker} crashed${again} (${event.reason}): its nodes wait; ${next}`, "red");
    }
    case "manifest-loaded":
      return `manifest: ${formatCount(event.nodes, "node")}`;
    case "manifest-rejected":
      return coloured(`manifest rejected: ${formatCount(event.problems, "problem")}; the old one goes on`, "red");
    case "image-ready":
      return `image ${event.image} is ready`;
    case "warning":
      return coloured(`warning: ${event.message}`, "yellow");
    case "diagnosis":
      return coloured(`why   ${event.cause}: ${event.evidence}. ${event.remedy}`, "red");
    case "diagnosis-cleared":
      return coloured(`why   ${event.cause} is over`, "green");
  }
}
