/** A node that has its root: what is in the way of its work there, or of being up. Most specific first. */
import type { WarningTopic } from "../event.ts";
import { BRAMBLE, counted, inWords, type NodeCause, type Surroundings } from "./cause.ts";
import type { NodeFacts } from "./facts.ts";

/** A full disk is no news any more when nothing was refused for so long. */
const RECENT_MS = 30_000;
const WARNED_MS = 60_000;
const SLOW_P99_MS = 2_000;
const SLOW_SECONDS = 5;
const ROOT_SILENT_MS = 60_000;
const FIRST_BOOT_MS = 60_000;
/** Even a Pi 3 with a desktop is up sooner. */
const UP_MAX_MS = 10 * 60_000;
/** After these the old handles of a node are stale, and it asks anew. */
const NEW_FILES_MS = 60_000;
const STALE_MIN = 5;
const BAD_CALLS_MIN = 3;

const FIRST_BOOT_PROGRAM =
  /(^|\/)(firstboot|firstrun\.sh|init_resize\.sh|resize2fs_once|userconf-service|userconfig|piwiz|rpi-resize|growpart)[^/]*$/;

function refused(
  { failed }: NodeFacts,
  statuses: readonly string[],
  { nowMs }: Pick<Surroundings, "nowMs">,
  least = 1,
) {
  for (const status of statuses) {
    const known = failed.get(status);
    if (known && nowMs - known.lastMs < RECENT_MS && known.count >= least) {
      return `${counted(known.count, "call")} answered with ${status} in the last ${inWords(nowMs - known.firstMs + 1000)}`;
    }
  }
  return undefined;
}

function warned({ warnings }: NodeFacts, topic: WarningTopic, nowMs: number, least = 1): string | undefined {
  const warning = warnings.get(topic);
  return warning && warning.count >= least && nowMs - warning.lastMs < WARNED_MS ? warning.message : undefined;
}

function lastSeenInRoot({ activity, attempt, status }: NodeFacts): number {
  return Math.max(activity.at(-1)?.ms ?? 0, attempt.mountedMs ?? 0, status.stageSinceMs);
}

export const ROOT_CAUSES: readonly NodeCause[] = [
  {
    id: "up-no-answer",
    title: "The node was up, and does not answer any more",
    boards: "all",
    sign: "the node is up, did nothing with its root for 15 s, and nobody answered ARP for its address four times in a row",
    remedy:
      "Look whether it has power and its cable, and whether the switch is on. If it has, it hangs: its screen says why, and taking its power away and giving it back starts it again",
    source: BRAMBLE,
    find: ({ status: { noAnswerSinceMs, address } }, { nowMs }) =>
      noAnswerSinceMs === undefined
        ? undefined
        : `nothing was heard of it for ${inWords(nowMs - noAnswerSinceMs)}, and nobody answers ARP for ${address}`,
  },
  {
    id: "root-too-large-for-memory",
    title: "The root does not fit into the node's memory",
    boards: "all",
    sign: "`root: ram`, and the node reported that its memory is short, in the last minute",
    remedy: "Use root: ephemeral, or a smaller image, or a board with more memory",
    source: BRAMBLE,
    find: (node, { nowMs }) => warned(node, "root-too-large", nowMs),
  },
  {
    id: "root-copy-failed",
    title: "Copying the root into the node's memory failed",
    boards: "all",
    sign: "`root: ram`, and the node reported that the copy failed, in the last minute",
    remedy: "Look at the node's console for the reason; it starts again by itself",
    source: BRAMBLE,
    find: (node, { nowMs }) => warned(node, "root-copy-failed", nowMs),
  },
  {
    id: "over-quota",
    title: "The node has used up its quota",
    boards: "all",
    sign: "calls answered with NFS3ERR_DQUOT in the last 30 s",
    remedy: "Raise quota: in the manifest, or remove files on the node (`bramble top NODE` shows what is written)",
    source: BRAMBLE,
    find: (node, seen) => refused(node, ["NFS3ERR_DQUOT"], seen),
  },
  {
    id: "manager-disk-full",
    title: "The manager's disk is full",
    boards: "all",
    sign: "calls answered with NFS3ERR_NOSPC in the last 30 s",
    remedy:
      "Make room on the disk of the state folder, or move it (stateDir); nodes wait for no one: their writes fail meanwhile",
    source: BRAMBLE,
    find: (node, seen) => refused(node, ["NFS3ERR_NOSPC"], seen),
  },
  {
    id: "manager-disk-failing",
    title: "The manager cannot read or write what the node asks for",
    boards: "all",
    sign: "calls answered with NFS3ERR_IO or NFS3ERR_SERVERFAULT in the last 30 s, or a fault of the volume in the last minute",
    remedy: "Check the manager's disk and its log; `bramble fsck` checks what Bramble stores",
    source: BRAMBLE,
    find: (node, seen) =>
      refused(node, ["NFS3ERR_IO", "NFS3ERR_SERVERFAULT"], seen) ?? warned(node, "volume-fault", seen.nowMs),
  },
  {
    id: "root-replaced",
    title: "The node works on files of a root that was replaced",
    boards: "all",
    sign: "five calls answered with NFS3ERR_STALE in the last 30 s, or calls after a reset, clone or restore while it ran",
    remedy: "Restart the node: it still has the old root open",
    source: "RFC 1813, NFS3ERR_STALE",
    find: (node, seen) => {
      const isExpected = node.filesChangedMs !== undefined && seen.nowMs - node.filesChangedMs < NEW_FILES_MS;
      return isExpected ? undefined : refused(node, ["NFS3ERR_STALE"], seen, STALE_MIN);
    },
  },
  {
    id: "files-of-another-node",
    title: "The node uses files of another node's root",
    boards: "all",
    sign: "a file handle of another node's tree, in the last minute",
    remedy:
      "Two machines have one address, or a node got another's address while it ran: restart it, and look for address conflicts",
    source: BRAMBLE,
    find: (node, { nowMs }) => warned(node, "forbidden-handle", nowMs),
  },
  {
    id: "nfs-calls-damaged",
    title: "The node's NFS calls arrive damaged",
    boards: "all",
    sign: "three calls that cannot be read, in a minute",
    remedy:
      "Look for a program that is no NFS client at the node's address, or a network card with broken checksum offloading",
    source: "RFC 5531",
    find: (node, { nowMs }) => warned(node, "nfs-call", nowMs, BAD_CALLS_MIN),
  },
  {
    id: "storage-slow",
    title: "The manager answers the node slowly",
    boards: "all",
    sign: "in 5 of the last seconds of work one call of a hundred took 2 s or more",
    remedy:
      "Look at the manager's disk (`bramble top`, iostat): a slow or dying disk, a full one, or a backup that runs. durability: async helps where losing a second of work is fine",
    source: BRAMBLE,
    find: ({ activity }, { nowMs }) => {
      const slow = activity.filter(({ ms, p99Ms = 0 }) => nowMs - ms < RECENT_MS && p99Ms >= SLOW_P99_MS);
      if (slow.length < SLOW_SECONDS) return undefined;
      return `the slowest call of a hundred took ${inWords(Math.max(...slow.map(({ p99Ms }) => p99Ms!)))}`;
    },
  },
  {
    id: "first-boot-program",
    title: "A first-boot program of the image waits, or looks for a disk",
    boards: "all",
    sign: "the root is mounted for a minute, the node is not up, and reads a program that prepares cards at the first boot",
    remedy:
      "Take init=…/firstboot, resize and systemd.run= out of the image's cmdline.txt; create the user in the manifest, so that no program asks for one",
    source: "sys-mods firstboot; PG:stage2",
    find: ({ busyFiles, status }, { nowMs }) => {
      if (status.stage !== "root" || nowMs - status.stageSinceMs < FIRST_BOOT_MS) return undefined;
      const program = busyFiles.findLast(({ path }) => FIRST_BOOT_PROGRAM.test(path));
      return program && `it reads ${program.path}, ${inWords(nowMs - status.stageSinceMs)} after its root was mounted`;
    },
  },
  {
    id: "root-silent",
    title: "The node mounted its root and then fell silent",
    boards: "all",
    sign: "the root is mounted, the node is not up, and did nothing for 60 s",
    remedy:
      "Keep network managers from the boot interface (NetworkManager: unmanaged-devices): one that sets eth0 up anew cuts the node from its root. Else look at the console",
    source: "PS:convert_chrooted_cmds",
    find: (node, { nowMs }) => {
      const silentMs = nowMs - lastSeenInRoot(node);
      return node.status.stage === "root" && silentMs > ROOT_SILENT_MS ? `nothing for ${inWords(silentMs)}` : undefined;
    },
  },
  {
    id: "no-up-report",
    title: "The node works, but does not report that it is up",
    boards: "all",
    sign: "the root is mounted for ten minutes, the node works, and no `up` came",
    remedy:
      "Look at the console: a service that never ends keeps multi-user.target back (`systemctl list-jobs`). An image without systemd cannot report; `bramble plan NODE` shows the unit",
    source: BRAMBLE,
    find: ({ status }, { nowMs }) =>
      status.stage === "root" && nowMs - status.stageSinceMs > UP_MAX_MS
        ? `its root is mounted for ${inWords(nowMs - status.stageSinceMs)}`
        : undefined,
  },
  {
    id: "tftp-packets-damaged",
    title: "The node's TFTP packets arrive damaged",
    boards: "all",
    sign: "three TFTP packets that cannot be read, in a minute",
    remedy: "Look for a program that is no boot loader at the node's address, or a broken network card",
    source: "RFC 1350 section 5",
    find: (node, { nowMs }) => warned(node, "tftp-packet", nowMs, BAD_CALLS_MIN),
  },
];
