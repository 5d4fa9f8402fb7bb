import type { Command } from "commander";
import type { ContainerStorage } from "../../cluster/container-storage.ts";
import type { BootPlanJson, PlannedFileJson } from "../../cluster/plan-json.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { formatBytes, formatTable } from "../table.ts";

type ShownPlan = BootPlanJson & { changedByNode: string[] };

export function addPlan(bramble: Command): void {
  bramble
    .command("plan <node>")
    .description("exactly what would be answered and served to a node")
    .action(async (node: string, _, command: Command) => {
      const plan = await apiOf(command).get<ShownPlan>(`/v1/plan/${encodeURIComponent(node)}`);
      if (globalOptions(command).json) printJson(plan);
      else console.log(planText(plan));
    });
}

function planText(plan: ShownPlan): string {
  const { identity, dhcp } = plan;
  const changed = new Set(plan.changedByNode);
  const boards = plan.boards.map((board) => [
    board.model,
    board.kernel,
    board.initramfs.join(" ") || "none",
    board.deviceTree ?? "-",
    board.commandLineFile,
  ]);
  const files = plan.files.map((file) => [
    file.tree,
    file.path,
    describeFile(file),
    file.reason,
    changed.has(file.path) ? "the node's own version stands" : "",
  ]);
  return [
    `${plan.node}: mac ${identity.mac ?? "any"}, serial ${identity.serial ?? "any"}, machine-id ${identity.machineId}`,
    `image    ${plan.image}, root ${plan.rootMode}`,
    `dhcp     ${dhcp.mode}, address ${dhcp.address ?? "from the pool or the router"}, boot server ${dhcp.bootServer}`,
    ...(plan.containerStorage ? [`storage  ${storageText(plan.containerStorage)} for containers`] : []),
    ...(plan.logs ? [`logs     ${logsText(plan.logs, plan.rootMode)}`] : []),
    ...(plan.packages ? [`packages ${plan.packages.join(" ")}`] : []),
    ...(plan.swap ? [`swap     ${swapText(plan.swap)}`] : []),
    `kernel   ${plan.lane}`,
    `cmdline  ${plan.commandLine}`,
    `exports  / from ${plan.exports.root}, boot files from ${plan.exports.boot}`,
    `blocked  ${plan.blockedBootFiles.join(", ")}`,
    ...plan.problems.map((problem) => `PROBLEM  ${problem}`),
    ...plan.warnings.map((warning) => `warning  ${warning}`),
    "",
    formatTable(["MODEL", "KERNEL", "INITRAMFS", "DEVICE TREE", "COMMAND LINE"], boards),
    "",
    formatTable(["TREE", "PATH", "WHAT", "WHY", ""], files),
  ].join("\n");
}

function storageText(storage: ContainerStorage): string {
  return storage.kind === "disk" ? `disk ${storage.device}` : `${storage.kind} of ${formatBytes(storage.sizeBytes)}`;
}

function logsText(logs: NonNullable<ShownPlan["logs"]>, rootMode: ShownPlan["rootMode"]): string {
  if (logs.keep === "disk") {
    return `on disk${logs.sizeBytes === undefined ? "" : `, journald's at most ${formatBytes(logs.sizeBytes)}`}`;
  }
  const inMemory = `in memory, at most ${formatBytes(logs.sizeBytes)}`;
  const isFlushed = logs.keep === "memory" && rootMode === "persistent";
  return isFlushed ? `${inMemory}, flushed every ${logs.flushS} s` : `${inMemory}, gone at each boot`;
}

function swapText(swap: NonNullable<ShownPlan["swap"]>): string {
  if (swap.kind === "none") return "none";
  const size = "percent" in swap.size ? `${swap.size.percent}% of the memory` : formatBytes(swap.size.bytes);
  return `zram, ${size}`;
}

function describeFile(file: PlannedFileJson): string {
  switch (file.kind) {
    case "removed":
      return "removed";
    case "symlink":
      return `→ ${file.target}`;
    case "directory":
      return `directory ${file.mode}`;
    default:
      return `file ${file.mode}`;
  }
}
