/**
 * The kernel command line (cmdline.txt): words separated by spaces, double quotes protect spaces.
 * Documents: Linux "admin-guide/kernel-parameters" and "filesystems/nfs/nfsroot"; initramfs-tools(7).
 */
import type { Ipv4 } from "../bytes/addresses.ts";

/**
 * How the root gets mounted: by the kernel itself (ROOT_NFS and IP_PNP built in), or by klibc's `nfsmount` in an
 * initramfs.
 */
export type BootLane = "kernel" | "initramfs";

export interface NfsRoot {
  lane: BootLane;
  server: Ipv4;
  path: string;
  nfsPort: number;
  mountPort: number;
  /** A path in the root: runs before the system's init, and finds that as `bramble.init=` where a word named it. */
  firstProgram?: string;
}

/** The kernel's own default is 4 KiB for each READ and WRITE. */
const NFS_TRANSFER_BYTES = 131072;
const NFS_PORT = 2049;
/** Seconds until a node whose root did not mount tries again from the start, instead of standing still for ever. */
const PANIC_REBOOT_S = 10;

/** Keys that say where the root is, or what only makes sense on a card. */
const DROPPED_KEYS = new Set([
  "root",
  "rootfstype",
  "rootflags",
  "nfsroot",
  "nfsrootdebug",
  "ip",
  "boot",
  "overlayroot",
  "resume",
  "ro",
  "rw",
  "rootwait",
  "fsck.repair",
  "fsck.mode",
  "resize",
  "quiet",
]);
/** May stand several times, each time with another value. */
const REPEATED_KEYS = new Set(["console", "cgroup_enable", "cgroup_disable"]);
/**
 * Switch on the kernel's memory controller, which containers need. Raspberry Pi's kernels start without it: by a patch of
 * theirs, later by `cgroup_disable=memory` of their device trees, whose words the firmware puts before those of
 * cmdline.txt (raspberrypi/linux#1950, #6439; 6.12.34 cannot be told otherwise: #6980). `cgroup_memory=1` is the older of
 * the two words; k3s asks for both. Other kernels know neither and pass over them: they have the controller on, unless
 * such a device tree switches it off.
 */
export const MEMORY_CGROUP_WORDS: readonly string[] = ["cgroup_enable=memory", "cgroup_memory=1"];
/** First-boot programs that look for a partition under `/` (Raspberry Pi OS, up to bookworm). */
const FIRST_BOOT_INIT = /^\/usr\/lib\/(raspberrypi-sys-mods\/firstboot|raspi-config\/init_resize\.sh)$/;

export function splitCommandLine(text: string): string[] {
  return text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
}

export function commandLineKey(word: string): string {
  return word.split("=", 1)[0]!;
}

/**
 * The image's own command line with its root replaced by one over NFS. `extraWords` (several in one text are
 * fine) come last and replace words of the same key, except of those that may stand several times.
 */
export function patchCommandLine(imageText: string, root: NfsRoot, extraWords: readonly string[] = []): string {
  const own = splitCommandLine(imageText).filter((word) => !isDropped(word));
  const base = [...own, ...rootWords(root)];
  if (!own.some((word) => commandLineKey(word) === "panic")) base.push(`panic=${PANIC_REBOOT_S}`);
  const extra = extraWords.flatMap(splitCommandLine).filter((word, index, all) => all.lastIndexOf(word) === index);
  const replaced = new Set(
    extra.map((word) => (REPEATED_KEYS.has(commandLineKey(word)) ? word : commandLineKey(word))),
  );
  const isReplaced = (word: string) => replaced.has(commandLineKey(word)) || replaced.has(word);
  const words = [...base.filter((word) => !isReplaced(word)), ...extra];
  return (root.firstProgram === undefined ? words : withFirstProgram(words, root.firstProgram)).join(" ");
}

/** The kernel passes over words with a dot that belong to no module. */
function withFirstProgram(words: readonly string[], path: string): string[] {
  const renamed = words.map((word) => (commandLineKey(word) === "init" ? `bramble.${word}` : word));
  return [...renamed, `init=${path}`];
}

function isDropped(word: string): boolean {
  const key = commandLineKey(word);
  if (key === "init") return FIRST_BOOT_INIT.test(word.slice("init=".length));
  return DROPPED_KEYS.has(key) || key.startsWith("systemd.run") || word === "systemd.unit=kernel-command-line.target";
}

function rootWords(root: NfsRoot): string[] {
  return ["root=/dev/nfs", `nfsroot=${root.server}:${root.path},${rootOptions(root)}`, "rw", "ip=dhcp", "rootwait"];
}

/**
 * klibc's nfsmount stops at `mountport` ("bad option") and asks the portmapper instead; it takes `port`, needed only
 * away from the standard one. The kernel takes both and then needs no portmapper.
 */
function rootOptions({ lane, nfsPort, mountPort }: NfsRoot): string {
  const ports = [`port=${nfsPort}`, `mountport=${mountPort}`];
  const needed = lane === "kernel" ? ports : nfsPort === NFS_PORT ? [] : ports.slice(0, 1);
  return ["vers=3", "tcp", "nolock", ...needed, `rsize=${NFS_TRANSFER_BYTES}`, `wsize=${NFS_TRANSFER_BYTES}`].join(",");
}
