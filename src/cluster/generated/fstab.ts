/**
 * fstab(5) of a node whose root is already mounted: the image's lines for its root, boot partition and swap go, the boot
 * tree comes over NFS where the system expects its boot files. A boot does not wait for other disks.
 */

import { bootExport } from "../export-paths.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { hasLogsInMemory } from "./logs.ts";
import { directory, type GenerationInput, imageLines, textFile } from "./placing.ts";

const REASON = "NFS root";
const PROC = "proc /proc proc defaults 0 0";
/** protocols(5), as far as mounting needs it. */
const PROTOCOLS = "tcp\t6\tTCP\nudp\t17\tUDP\n";
/** A boot that cannot mount its boot tree goes on without it. */
const MOUNT_TIMEOUT_S = 30;

export function fstabFiles(input: GenerationInput): GeneratedFile[] {
  const { facts, root, rootMode } = input;
  const replaced = ["/", facts.bootMountPoint, ...(hasLogsInMemory(input) ? ["/var/log"] : [])];
  const kept = imageLines(root, "/etc/fstab").filter((line) => isKept(line, replaced));
  const own = facts.init === "systemd" ? kept.map(optionalDisk) : kept;
  const hasProc = own.some((line) => line.trim().split(/\s+/)[1] === "/proc");
  // A root in memory goes on without the manager; a mount of it would hang with it.
  const bootTree = rootMode === "ram" ? [] : [bootTreeLine(input)];
  const lines = [...(hasProc ? [] : [PROC]), ...own, ...bootTree, ""];
  // mount.nfs of a small image without netbase: "Failed to find 'tcp' protocol".
  const lacksProtocols = facts.hasNfsMountHelper && !root.exists("/etc/protocols");
  return [
    directory(facts.bootMountPoint, REASON),
    textFile("/etc/fstab", lines.join("\n"), REASON),
    ...(lacksProtocols ? [textFile("/etc/protocols", PROTOCOLS, REASON)] : []),
  ];
}

function isKept(line: string, replaced: readonly string[]): boolean {
  const [source, mountPoint, type] = line.trim().split(/\s+/);
  if (source === undefined || source === "" || source.startsWith("#")) return true;
  return !replaced.includes(mountPoint ?? "") && type !== "swap" && mountPoint !== "none";
}

const DISK = /^(\/dev\/|(PART)?(UUID|LABEL)=)/;

/** systemd would wait for a partition of the card that is not there, and then stop the boot. */
function optionalDisk(line: string): string {
  const [source = "", mountPoint, type, options = "", ...rest] = line.trim().split(/\s+/);
  if (!DISK.test(source) || options.split(",").includes("nofail")) return line;
  return [source, mountPoint, type, [options, "nofail"].filter(Boolean).join(","), ...rest].join(" ");
}

function bootTreeLine(input: GenerationInput): string {
  const { facts, node, ports, serverAddress } = input;
  const options = [
    "vers=3",
    "proto=tcp",
    "nolock",
    `port=${ports.nfs}`,
    `mountport=${ports.mount}`,
    "mountproto=tcp",
    // Without nfs-common's mount.nfs the options go to the kernel as they are, and it resolves no names.
    ...(facts.hasNfsMountHelper ? [] : [`addr=${serverAddress}`]),
    // Busybox knows neither word; its owner mounts by hand.
    ...(facts.init === "systemd" ? ["nofail", `x-systemd.mount-timeout=${MOUNT_TIMEOUT_S}s`] : ["noauto"]),
  ];
  return `${serverAddress}:${bootExport(node.name)} ${facts.bootMountPoint} nfs ${options.join(",")} 0 0`;
}
