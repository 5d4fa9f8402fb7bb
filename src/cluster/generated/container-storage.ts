/**
 * `storage:` on the node: a unit that makes a file system on which containers can be kept, grows it, mounts it, puts the
 * folders of container programs on it, and tries whether it does what they need. It runs before them; when it fails they
 * do not start, because they would fill the root over NFS with what does not work there.
 *
 * Of an image file nothing is discarded: NFS v3 cannot make holes in a file, so a loop device over it takes no such request.
 * Of a disk, once a week.
 */
import { type ContainerStorage, containerStorageOf, SYSTEM_MEMORY_KIB } from "../container-storage.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { enableUnit, type GenerationInput, textFile } from "./placing.ts";
import { IS_MOUNTED } from "./shell-functions.ts";
import { STORAGE_REPORT_PATH } from "./up-report.ts";

const REASON = "container storage";
const SCRIPT_PATH = "/usr/lib/bramble/storage";
const UNIT = "bramble-storage.service";
const IMAGE_PATH = "/var/lib/bramble/containers.ext4";
const STORE_FOLDER = "/var/lib/bramble/containers";
/** What we make on a disk, and so know again, has it. */
const DISK_LABEL = "bramble-storage";
/** Names the disk while a file system is made on it. */
const MAKING_PATH = "/var/lib/bramble/making-disk";
/** Half seconds that a disk may take to be seen. */
const DISK_ATTEMPTS = 60;
/** Below /var/lib. */
const FOLDERS = ["docker", "containerd", "kubelet", "rancher"];
/** What keeps containers there: Docker, containerd and its Kubernetes. */
const SERVICES = ["docker", "containerd", "kubelet", "k3s", "k3s-agent"];
const MKFS_PATHS = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];
/** When less than one of so many parts is free the owner is warned. */
const FULL_BELOW_PART = 20;
/** With less free than this nothing is tried: some blocks for folders and a file. */
const TRIAL_KIB = 1024;
/** Many times what an emulated board takes for 8 GiB. */
const START_TIMEOUT_S = 300;

export function containerStorageFiles(input: GenerationInput): GeneratedFile[] {
  const storage = containerStorageOf(input.manifest, input.node);
  if (storage === undefined || input.facts.init !== "systemd") return [];
  const unitPath = `/etc/systemd/system/${UNIT}`;
  return [
    textFile(SCRIPT_PATH, `${HEAD}${making(storage)}${TAIL}`, REASON, { mode: 0o755 }),
    textFile(unitPath, UNIT_TEXT, REASON),
    enableUnit(UNIT, unitPath, REASON),
    ...SERVICES.map((service) =>
      textFile(`/etc/systemd/system/${service}.service.d/bramble-storage.conf`, NEEDS_STORAGE, REASON),
    ),
    ...(storage.kind === "disk" ? trimFiles() : []),
  ];
}

/** The part of the script that is of this kind. */
function making(storage: ContainerStorage): string {
  if (storage.kind === "disk") return `device='${storage.device}'\nmay_format=${storage.format}\n${EXT4}${DISK}`;
  const size = `size_kib=${Math.floor(storage.sizeBytes / 1024)}\n`;
  return storage.kind === "loop" ? `${size}${EXT4}${LOOP}` : `${size}${MEMORY}`;
}

/** That of util-linux trims what is in fstab. */
function trimFiles(): GeneratedFile[] {
  const timerPath = "/etc/systemd/system/bramble-trim.timer";
  return [
    textFile("/etc/systemd/system/bramble-trim.service", TRIM_SERVICE, REASON),
    textFile(timerPath, TRIM_TIMER, REASON),
    enableUnit("bramble-trim.timer", timerPath, REASON),
  ];
}

export function containerStorageWarnings({ manifest, node, facts, root, rootMode }: GenerationInput): string[] {
  const storage = containerStorageOf(manifest, node);
  if (storage === undefined) return [];
  if (facts.init !== "systemd") return [`The image of ${node.name} has no systemd: storage: does nothing there`];
  if (storage.kind === "memory") return [];
  return [
    ...(storage.kind === "disk" && storage.format
      ? [
          `What is on ${storage.device} of ${node.name} is erased at its next boot, unless it was made for its containers`,
        ]
      : []),
    ...(rootMode === "ephemeral" && storage.kind === "loop"
      ? [
          `The storage of ${node.name} begins anew at each boot, as its root does: containers and images are fetched again`,
        ]
      : []),
    ...(MKFS_PATHS.some((path) => root.exists(path))
      ? []
      : [
          `The image of ${node.name} has no mkfs.ext4, which storage of kind ${storage.kind} needs: use one with e2fsprogs`,
        ]),
  ];
}

const UNIT_TEXT = `[Unit]
Description=Storage for containers
After=systemd-remount-fs.service local-fs.target
Before=${[...SERVICES.map((service) => `${service}.service`), "bramble-up.service"].join(" ")}

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=${START_TIMEOUT_S}
ExecStart=${SCRIPT_PATH}

[Install]
WantedBy=multi-user.target
`;

/** The mounts are systemd's to undo, after those that use them. */
const NEEDS_STORAGE = `[Unit]
Requires=${UNIT}
After=${[UNIT, ...FOLDERS.map((folder) => `var-lib-${folder}.mount`)].join(" ")}
`;

const TRIM_SERVICE = `[Unit]
Description=Tell the disk of the containers which blocks are free
RequiresMountsFor=${STORE_FOLDER}

[Service]
Type=oneshot
ExecStart=/sbin/fstrim --quiet-unsupported ${STORE_FOLDER}
`;

const TRIM_TIMER = `[Unit]
Description=Trim the disk of the containers once a week

[Timer]
OnCalendar=weekly
RandomizedDelaySec=6h

[Install]
WantedBy=multi-user.target
`;

const HEAD = `#!/bin/sh
# Makes, mounts and tries the file system for containers (storage: in the manifest), and reports how that went.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022
store=${STORE_FOLDER}
state=ready

report() {
  echo "$*" > ${STORAGE_REPORT_PATH}.new && mv ${STORAGE_REPORT_PATH}.new ${STORAGE_REPORT_PATH}
}

# A word for the manager, and what a program said for the journal.
fail() {
  case $2 in
    *"No space left"*) set -- no-space "$2" ;;
    *"uota exceeded"*) set -- over-quota "$2" ;;
  esac
  echo "Storage for containers failed ($1): $2" >&2
  report "$1"
  exit 1
}

${IS_MOUNTED}

mkdir -p "$store" "\${store%/*}" ${STORAGE_REPORT_PATH.slice(0, STORAGE_REPORT_PATH.lastIndexOf("/"))}
report unfinished
modprobe -q overlay
grep -qw overlay /proc/filesystems || fail no-overlay
`;

const GROW = `# Does nothing when the file system fills what it is in, also after a boot that was cut off before.
said=$(resize2fs "$(findmnt -n -o SOURCE "$store")" 2>&1) || fail grow-failed "$said"
`;

/** e2fsck looks only whether the last use ended well, and replays the journal when not. */
const EXT4 = `
need_ext4() {
  modprobe -q ext4
  grep -qw ext4 /proc/filesystems || fail no-ext4
}

need_mkfs() {
  command -v mkfs.ext4 > /dev/null || fail no-mkfs
}

check() {
  said=$(e2fsck -p "$1" 2>&1)
  [ $? -lt 4 ] || fail "$2" "$said"
}
`;

/**
 * `noinit_itable`: the kernel would write zeros to inode tables that are holes, and so read as zeros already.
 */
const LOOP = `
image=${IMAGE_PATH}
make_image() {
  umask 077
  truncate -s "\${size_kib}K" "$image.new" &&
    mkfs.ext4 -q -F -b 4096 -m 1 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$image.new" &&
    sync "$image.new" && mv "$image.new" "$image"
}

mount_image() {
  modprobe -q loop
  [ -e /dev/loop-control ] || fail no-loop
  need_ext4
  if [ ! -e "$image" ]; then
    need_mkfs
    said=$(make_image 2>&1) || fail make-failed "$said"
  fi
  have_kib=$(($(stat -c %s "$image") / 1024))
  if [ "$have_kib" -lt "$size_kib" ]; then
    said=$(truncate -s "\${size_kib}K" "$image" 2>&1) || fail grow-failed "$said"
  fi
  check "$image" damaged
  said=$(mount -o loop,noatime,noinit_itable "$image" "$store" 2>&1) || fail mount-failed "$said"
}

is_mounted "$store" || mount_image
${GROW}[ "$(stat -c %s "$image")" -le $((size_kib * 1024)) ] || state=larger
`;

/**
 * A disk is taken when it has our label, or when nothing is on it: blkid knows nothing there, and the first MiB is zeros
 * or what an attempt of ours left. Anything else needs consent.
 */
const DISK = `
making=${MAKING_PATH}

is_ours() {
  [ "$(blkid -p -o value -s TYPE "$device") $(blkid -p -o value -s LABEL "$device")" = "ext4 ${DISK_LABEL}" ]
}

is_empty() {
  blkid -p "$device" > /dev/null 2>&1
  [ $? = 2 ] || return 1
  [ "$(cat "$making" 2> /dev/null)" = "$device" ] || cmp -s -n 1048576 "$device" /dev/zero
}

make_disk() {
  echo "$device" > "$making" && sync "$making" &&
    wipefs -q -a "$device" && mkfs.ext4 -q -F -L ${DISK_LABEL} -b 4096 -m 1 "$device" && rm "$making"
}

mount_disk() {
  for attempt in $(seq ${DISK_ATTEMPTS}); do
    [ -e "$device" ] && break
    sleep 0.5
  done
  [ -e "$device" ] || fail no-device "$device"
  need_ext4
  if ! is_ours; then
    is_empty || $may_format || fail device-taken "$(blkid -p "$device" 2>&1)"
    need_mkfs
    said=$(make_disk 2>&1) || fail make-failed "$said"
  fi
  check "$device" disk-damaged
  said=$(mount -o noatime "$device" "$store" 2>&1) || fail mount-failed "$said"
}

is_mounted "$store" || mount_disk
${GROW}`;

const MEMORY = `
mount_memory() {
  while read -r key value unit; do
    [ "$key" = MemAvailable: ] && available_kib=$value
  done < /proc/meminfo
  needed_kib=$((size_kib + ${SYSTEM_MEMORY_KIB}))
  [ "$needed_kib" -le "$available_kib" ] || fail "memory-short $available_kib $needed_kib"
  said=$(mount -t tmpfs -o "mode=0755,size=\${size_kib}k" containers "$store" 2>&1) || fail mount-failed "$said"
}

is_mounted "$store" || mount_memory
`;

/** The trial does what a container program does: a file of an image is changed in an overlay, and must be on disk then. */
const TAIL = `
try_overlay() {
  rm -rf "$trial" && mkdir -p "$trial/lower" "$trial/upper" "$trial/work" "$trial/merged" &&
    echo lower > "$trial/lower/file" &&
    mount -t overlay -o "lowerdir=$trial/lower,upperdir=$trial/upper,workdir=$trial/work" overlay "$trial/merged" ||
    return 1
  echo upper > "$trial/merged/file" && sync "$trial/merged/file" &&
    mkdir "$trial/merged/folder" && mv "$trial/merged/file" "$trial/merged/folder/file"
  tried=$?
  umount "$trial/merged"
  [ $tried = 0 ] && [ "$(cat "$trial/upper/folder/file")" = upper ] && rm -rf "$trial"
}

block_bytes=$(stat -f -c %S "$store")
free_kib=$(($(stat -f -c %a "$store") * (block_bytes / 512) / 2))
all_kib=$(($(stat -f -c %b "$store") * (block_bytes / 512) / 2))
[ $((free_kib * ${FULL_BELOW_PART})) -ge "$all_kib" ] || state=full

# What containers have filled is not broken: the programs that can remove them are to start.
trial=$store/.trial
if [ "$free_kib" -ge ${TRIAL_KIB} ] && ! said=$(try_overlay 2>&1); then
  case $said in
    *"No space left"*) state=full && rm -rf "$trial" ;;
    *) fail test-failed "$said" ;;
  esac
fi

for folder in ${FOLDERS.join(" ")}; do
  is_mounted "/var/lib/$folder" && continue
  said=$({ mkdir -p "/var/lib/$folder" "$store/$folder" && mount --bind "$store/$folder" "/var/lib/$folder"; } 2>&1) ||
    fail mount-failed "$said"
done

report "$state $free_kib $all_kib"
`;
