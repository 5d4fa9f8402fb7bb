/**
 * `root: ram`: the node's first program copies the root file system into memory, lets go of the manager, and starts the
 * system's own init from there. It runs over the NFS root, so it has what the image has and nothing else.
 *
 * The way out is pivot_root(2), not switch_root(8): that leaves the old root mounted below the new one, and a mount of a
 * manager that is gone is where things hang.
 */
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import { directory, type GenerationInput, textFile } from "./placing.ts";
import { IS_MOUNTED } from "./shell-functions.ts";

const REASON = "root in memory";
/** For `init=` on the kernel's command line. */
export const RAM_ROOT_INIT = "/usr/lib/bramble/ram-root";
/** Where the manager's root is mounted while it is needed, in the root over NFS and in the one in memory. */
export const SERVED_ROOT_FOLDER = "/usr/lib/bramble/served";
const MEMORY_FOLDER = "/usr/lib/bramble/memory";

/** tmpfs keeps whole pages, and an inode and a name for each file: about 760 and 190 bytes on 64-bit Linux. */
const PAGE_BYTES = 4096;
const INODE_KIB = 1;
/** What a Debian with SSH takes beside its files, and something to work with. */
const RESERVE_KIB = 128 * 1024;
/** The owner wants to read it, and to repair the manifest. */
const RESTART_PAUSE_S = 60;

const PROGRAM_FOLDERS = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const PROGRAMS = ["sh", "mount", "umount", "mkdir", "sleep", "df", "cp", "pivot_root", "chroot"];

export function ramRootFiles(input: GenerationInput, others: readonly GeneratedFile[]): GeneratedFile[] {
  if (input.rootMode !== "ram") return [];
  return [
    directory(SERVED_ROOT_FOLDER, REASON),
    directory(MEMORY_FOLDER, REASON),
    textFile(RAM_ROOT_INIT, script(neededKiB(input.root, others)), REASON, { mode: 0o755 }),
  ];
}

/** Why this image's root cannot be taken into memory. */
export function ramRootProblems({ node, root, rootMode }: GenerationInput): string[] {
  if (rootMode !== "ram") return [];
  const missing = PROGRAMS.filter((name) => !PROGRAM_FOLDERS.some((folder) => root.exists(`${folder}/${name}`)));
  if (missing.length === 0) return [];
  return [`Cannot keep the root of ${node.name} in memory: the image has no ${missing.join(", ")}`];
}

/** What the files take as a tmpfs, those of the image and those placed over it. */
function neededKiB(root: ImageFiles, placed: readonly GeneratedFile[]): number {
  const { sizeBytes, inodes } = root.measure(PAGE_BYTES);
  const placedBytes = placed.map((file) => (file.kind === "file" ? roundUp(file.content.length) : 0));
  const bytes = placedBytes.reduce((sum, each) => sum + each, sizeBytes);
  return bytes / 1024 + (inodes + placed.length) * INODE_KIB;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

const script = (needed: number) => `#!/bin/sh
# The first program of this node (root: ram). Copies the root file system from the manager into memory, unmounts it, and
# starts the system's own init. Started a second time, by itself, when "/" is in memory.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
needed_kib=${needed}
reserve_kib=${RESERVE_KIB}
served=${SERVED_ROOT_FOLDER}
memory=${MEMORY_FOLDER}
progress=

# To every console, and to dmesg.
say() {
  if [ -c /dev/kmsg ]; then echo "ram root: $*" > /dev/kmsg; else echo "ram root: $*"; fi
}

# The manager serves this file and sees the write.
tell() {
  read -r boot_id < /proc/sys/kernel/random/boot_id
  read -r uptime_s rest < /proc/uptime
  echo "$boot_id $uptime_s $*" > /var/lib/bramble/up
}

give_up() {
  [ -z "$progress" ] || kill "$progress"
  say "$1; restarting in ${RESTART_PAUSE_S} seconds"
  tell "$2"
  sleep ${RESTART_PAUSE_S}
  echo b > /proc/sysrq-trigger
  exit 1
}

${IS_MOUNTED}

uptime_s() {
  read -r now rest < /proc/uptime
  echo "\${now%%.*}"
}

show_progress() {
  df -Pk "$memory" | {
    read -r heading
    read -r name size used rest
    say "$((used / 1024)) of $((needed_kib / 1024)) MiB copied, $(($(uptime_s) - started_s)) s"
  }
}

# -i: by no helper, which would talk to the manager about it.
unmount() {
  umount -i "$1" 2> /dev/null || umount "$1"
}

let_go() {
  for attempt in 1 2 3 4 5; do
    unmount "$served" && return 0
    sleep 1
  done
  say "the manager's root is still in use, and is hidden only: programs that hang without the manager use it"
  umount -l "$served"
}

if [ "\${1:-}" = --in-memory ]; then
  shift
  let_go
  init=/sbin/init
  read -r words < /proc/cmdline
  for word in $words; do
    case $word in bramble.init=*) init=\${word#bramble.init=} ;; esac
  done
  say "the root is in memory, the manager is not needed any more; starting $init"
  exec "$init" "$@"
fi

[ -r /proc/meminfo ] || mount -t proc proc /proc
[ -c /dev/kmsg ] || mount -t devtmpfs devtmpfs /dev
while read -r key value unit; do
  case $key in
    MemTotal:) total_kib=$value ;;
    MemAvailable:) available_kib=$value ;;
  esac
done < /proc/meminfo
if [ $((needed_kib + reserve_kib)) -gt "$available_kib" ]; then
  give_up "Cannot keep the root in memory: its files take $((needed_kib / 1024)) MiB and the system \\
$((reserve_kib / 1024)) MiB, and $((available_kib / 1024)) MiB are free; use root: ephemeral, or a smaller image" \\
    "memory-short $((needed_kib + reserve_kib)) $available_kib"
fi

size_kib=$((total_kib / 4 * 3))
[ "$size_kib" -ge $((needed_kib + reserve_kib / 2)) ] || size_kib=$((needed_kib + reserve_kib / 2))
started_s=$(uptime_s)
say "copying $((needed_kib / 1024)) MiB into memory, $((available_kib / 1024)) MiB are free"
# The root once more, without what is mounted in it.
mount --bind / "$served" &&
  mount -t tmpfs -o "mode=0755,size=\${size_kib}k,nr_inodes=0" root "$memory" ||
  give_up "Cannot keep the root in memory: mounting failed" copy-failed
while sleep 3; do show_progress; done &
progress=$!
cp -a "$served/." "$memory/" || give_up "Cannot keep the root in memory: copying failed" copy-failed
kill "$progress"
progress=
show_progress
unmount "$served" || give_up "Cannot keep the root in memory: unmounting failed" copy-failed

for place in /dev /sys /run /proc; do
  is_mounted "$place" || continue
  mkdir -p "$memory$place"
  mount --move "$place" "$memory$place"
done
cd "$memory" && pivot_root . "\${served#/}" &&
  exec chroot . ${RAM_ROOT_INIT} --in-memory "$@" < dev/console > dev/console 2>&1
echo "ram root: cannot make memory the root"
sleep ${RESTART_PAUSE_S}
exit 1
`;
