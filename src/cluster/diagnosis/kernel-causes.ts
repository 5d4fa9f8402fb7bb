/** A node whose kernel was loaded, and that does not come to its root, or not beyond it. Most specific first. */
import type { MountRefusal } from "../../nfs/exports.ts";
import { isUp, type Stage } from "../event.ts";
import { CANNOT_MOUNT_NFS } from "../plan-wording.ts";
import { BRAMBLE, counted, inWords, type NodeCause } from "./cause.ts";
import type { Attempt, NodeFacts } from "./facts.ts";

/** A kernel with an initramfs needs up to half a minute to its first DISCOVER, and a switch port with spanning tree as much again. */
const KERNEL_SILENT_MS = 75_000;
const KERNEL_ADDRESS_TRIES = 3;
/** From the kernel's address to the first call of NFS or the port mapper. */
const MOUNT_MS = 20_000;
const RECENT_MS = 60_000;
const RESTARTS_MS = 20 * 60_000;
const STORM_MS = 60_000;
/** A boot loader that pauses 5 s cannot do so. */
const STORM_BOOTS = 15;

function isInKernel({ status, attempt }: NodeFacts): boolean {
  return status.stage === "kernel" && attempt.mountedMs === undefined;
}

function refusedFor({ attempt }: NodeFacts, cause: MountRefusal): string | undefined {
  const { mountRefused, mountedMs } = attempt;
  if (mountedMs !== undefined || mountRefused?.cause !== cause) return undefined;
  return `${mountRefused.path} was refused to ${mountRefused.client}: ${mountRefused.reason}`;
}

function restartsIn({ restarts, status }: NodeFacts, stage: Stage, nowMs: number): number {
  if (isUp(status.stage)) return 0;
  return restarts.filter((each) => each.stage === stage && nowMs - each.ms < RESTARTS_MS).length;
}

export const KERNEL_CAUSES: readonly NodeCause[] = [
  {
    id: "image-cannot-mount-nfs",
    title: "The image's kernel cannot mount a root over NFS",
    boards: "all",
    sign: "the plan: the kernel lacks ROOT_NFS, IP_PNP or the board's network driver, and there is no initramfs for it",
    remedy:
      "Use an image with an initramfs for this kernel (made with MODULES=netboot, BOOT=nfs), or with a kernel that has ROOT_NFS built in (Raspberry Pi OS has)",
    source: "bcm2712_defconfig, PG:export-image",
    find: ({ plan, status }) =>
      isUp(status.stage) ? undefined : plan.problems.find((problem) => problem.includes(CANNOT_MOUNT_NFS)),
  },
  {
    id: "image-not-bootable",
    title: "The node's plan has a problem that keeps it from booting",
    boards: "all",
    sign: "the plan: files that the model needs are missing in the image, or a line cannot be built",
    remedy:
      "Choose an image that supports the model, or correct what the message names; `bramble plan NODE` shows everything",
    source: BRAMBLE,
    find: ({ plan, status }) => (isUp(status.stage) ? undefined : plan.problems[0]),
  },
  {
    id: "nfs-version-refused",
    title: "The node asks for another version of NFS than 3",
    boards: "all",
    sign: "a call of NFS or MOUNT in a version that is not served, and no root mounted since",
    remedy:
      "Write vers=3 where the image mounts its root (nfsroot= in cmdline.txt of a kernel without Bramble's line, or the initramfs): the kernel's own default is 2, newer tools ask for 4",
    source: "DOC#3205; fs/nfs/nfsroot.c",
    find: ({ attempt }) =>
      attempt.wrongVersion && attempt.mountedMs === undefined
        ? `it asked for ${attempt.wrongVersion.program} version ${attempt.wrongVersion.version}`
        : undefined,
  },
  {
    id: "mount-from-unknown-address",
    title: "The node mounts its root from an address that Bramble does not know as the node's",
    boards: "all",
    sign: "a mount of the node's tree was refused because the address is no node's",
    remedy:
      "Let the node's system ask for its address by the same MAC as the firmware (no client identifier of its own, no MAC randomisation), or give the node its address in the manifest; behind NAT or a container network Bramble cannot know it",
    source: BRAMBLE,
    find: (node) => refusedFor(node, "unknown-address"),
  },
  {
    id: "mount-of-another-node",
    title: "The node mounts the root of another node",
    boards: "all",
    sign: "a mount was refused because the address is one node's and the tree another's",
    remedy:
      "Two machines have one address, or the boards were swapped: compare MAC and serial numbers in the manifest with the boards",
    source: BRAMBLE,
    find: (node) => refusedFor(node, "another-node"),
  },
  {
    id: "mount-of-no-tree",
    title: "The node mounts a path that Bramble does not export",
    boards: "all",
    sign: "a mount was refused because there is no such tree",
    remedy: "Take nfsroot= out of the image's own cmdline.txt and initramfs: Bramble writes the right one",
    source: BRAMBLE,
    find: (node) => refusedFor(node, "no-tree"),
  },
  {
    id: "nfs-from-unprivileged-port",
    title: "The node's NFS calls come from a port above 1023",
    boards: "all",
    sign: "calls of the node were refused because of their source port",
    remedy:
      "Something between the node and the manager rewrites ports (NAT, a virtual machine's user network, a container): put both on one network; or take noresvport out of the mount's options",
    source: "RFC 1813 section 5",
    find: ({ warnings, attempt }, { nowMs }) => {
      const warning = warnings.get("unprivileged-port");
      const isSo = warning && nowMs - warning.lastMs < RECENT_MS;
      return isSo && attempt.mountedMs === undefined ? warning.message : undefined;
    },
  },
  {
    id: "request-storm",
    title: "The board begins anew many times a minute",
    boards: "4 family",
    sign: "15 boots in a minute",
    remedy: "Update the EEPROM (2020-06-03 or later pauses 5 s), and look at what its boots end with",
    source: "EE#140",
    find: ({ restarts }, { nowMs }) => {
      const storm = restarts.filter(({ ms }) => nowMs - ms < STORM_MS).length;
      return storm >= STORM_BOOTS ? `${storm} boots in the last minute` : undefined;
    },
  },
  {
    id: "kernel-gets-no-address",
    title: "The kernel asks for an address and gets none",
    boards: "all",
    sign: "three DISCOVERs of Linux without a REQUEST or ACK after them, and no root mounted",
    remedy:
      "Check that the DHCP server gives the node's Linux the address that its firmware got: some servers treat it as another client (option 61), or have no address left",
    source: "NB; RFC 2132 section 9.14",
    find: (node) => {
      const { linux } = node.attempt;
      return isInKernel(node) && linux.discovers >= KERNEL_ADDRESS_TRIES && linux.acks === 0
        ? `${counted(linux.discovers, "DISCOVER")} of its kernel in ${inWords(linux.lastMs! - linux.firstMs!)}, ${counted(linux.offers, "OFFER")} and no ACK sent`
        : undefined;
    },
  },
  {
    id: "root-not-asked-for",
    title: "The kernel has its address, but does not ask for its root",
    boards: "all",
    sign: "an ACK to Linux, no mount and no refused mount in 20 s",
    remedy:
      "Open TCP ports 111, 2049 and the mount port in the manager's firewall; look at the console for `nfsmount` or `VFS` messages",
    source: "DOC#3205",
    find: (node, { nowMs }) => {
      const { linux, mountRefused } = node.attempt;
      if (!isInKernel(node) || linux.ackMs === undefined || mountRefused) return undefined;
      return nowMs - linux.ackMs > MOUNT_MS ? `it got its address ${inWords(nowMs - linux.ackMs)} ago` : undefined;
    },
  },
  {
    id: "kernel-silent",
    title: "The kernel was loaded, and nothing was heard of it since",
    boards: "all",
    sign: "a kernel was sent, and for 75 s neither DHCP of Linux nor a mount was seen",
    remedy:
      "Look at the console: a kernel for another model, a missing network driver or a damaged initramfs. A switch port with spanning tree stays shut for 30 s after the kernel resets it: make it an edge port",
    source: "FW#861; kernel `ip=dhcp`",
    find: (node, { nowMs }) => {
      const sinceMs = node.status.boot?.reachedMs.kernel;
      if (!isInKernel(node) || sinceMs === undefined || node.attempt.linux.discovers > 0) return undefined;
      return nowMs - Math.max(sinceMs, node.attempt.lastFileMs ?? 0) > KERNEL_SILENT_MS
        ? `its kernel was sent ${inWords(nowMs - sinceMs)} ago`
        : undefined;
    },
  },
];

/** Boots that ended in one stage, at least so many of them. */
function restarts(
  stage: Stage,
  least: number,
  ended: (attempt: Attempt) => string,
  text: Omit<NodeCause, "boards" | "find">,
): NodeCause {
  return {
    ...text,
    boards: "all",
    find(node, { nowMs }) {
      const count = restartsIn(node, stage, nowMs);
      return count >= least ? `${count} boots ended ${ended(node.attempt)}` : undefined;
    },
  };
}

/** What holds when nothing more special does. */
export const RESTART_CAUSES: readonly NodeCause[] = [
  restarts("root", 2, () => "after the root was mounted", {
    id: "root-restarts",
    title: "The system starts from its root, and the board begins anew before it is up",
    sign: "two boots in 20 minutes that ended after the root was mounted and before `up`",
    remedy:
      "Look at the console. A first-boot program that wants to grow a partition does this (init=…/firstboot or resize in cmdline.txt), as do watchdogs and weak power supplies",
    source: "sys-mods firstboot",
  }),
  restarts("kernel", 2, () => "after the kernel was loaded", {
    id: "kernel-restarts",
    title: "The kernel starts, and the board begins anew before its root is mounted",
    sign: "two boots in 20 minutes that ended after the kernel was sent and before the root was mounted",
    remedy:
      "Look at the console (`bramble console NODE`, or a screen): a panic (no root, wrong device tree, damaged initramfs) restarts the board",
    source: "FW#1642; kernel panic=",
  }),
  restarts("firmware", 3, ({ lastPath }) => `while files were loaded, the last at ${lastPath ?? "its beginning"}`, {
    id: "firmware-restarts",
    title: "The firmware begins anew again and again",
    sign: "three boots in 20 minutes that ended while files were loaded",
    remedy: "Look at the board's screen or its flashes; `bramble explain NODE` shows which file was the last",
    source: "LED warning codes",
  }),
];
