/**
 * `logs:` on the node: /var/log in memory, of a limited size, and journald fitted to it. With `keep: memory` it is brought
 * to the node's own tree by a timer, after packages were installed, and when the node shuts down: as one archive, which
 * takes the place of the last one when it is whole.
 *
 * It is mounted before journald leaves /run and before anything else writes logs, filled already. Before the last flush
 * journald is told to go back there: it closes its files, and the next boot finds them in order.
 */
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import type { LogsWish } from "../manifest-logs.ts";
import { directory, enableUnit, type GenerationInput, hasUnit, maskUnit, textFile } from "./placing.ts";
import { IS_MOUNTED } from "./shell-functions.ts";
import { SETTING_REPORT_FOLDER, UP_SCRIPT_PATH } from "./up-report.ts";

const REASON = "logs";
const SCRIPT_PATH = "/usr/lib/bramble/logs";
const UNITS = "/etc/systemd/system";
const JOURNALD_PATH = "/etc/systemd/journald.conf.d/zz-bramble.conf";
const ARCHIVE = "/var/lib/bramble/logs.tar.gz";
/** They would mount something on /var/log, too. */
const OTHER_PROGRAMS = [
  "log2ram.service",
  "log2ram-daily.timer",
  "armbian-ramlog.service",
  "folder2ram_startup.service",
];
const PROGRAMS = ["tar", "gzip", "find"];
const PROGRAM_FOLDERS = ["/usr/bin", "/bin"];
/** journald's part; what else writes to /var/log has the rest. */
const JOURNAL_PART = 2;
const JOURNAL_FILES = 8;
/** When less than one of so many parts is free the owner is warned. journald leaves one of seven free by itself. */
const FULL_BELOW_PART = 10;

/** `undefined`: as the image has it. */
export function logsOf({ manifest, node }: Pick<GenerationInput, "manifest" | "node">): LogsWish | undefined {
  return node.logs ?? manifest.logs;
}

/** Whether /var/log is ours on this node. */
export function hasLogsInMemory(input: GenerationInput): boolean {
  const wish = logsOf(input);
  const isWished = wish !== undefined && wish.keep !== "disk";
  return isWished && input.facts.init === "systemd" && missingPrograms(input.root).length === 0;
}

export function logFiles(input: GenerationInput): GeneratedFile[] {
  const wish = logsOf(input);
  if (wish === undefined || input.facts.init !== "systemd") return [];
  if (wish.keep === "disk") {
    return wish.sizeBytes === undefined ? [] : [textFile(JOURNALD_PATH, journaldLimits(wish.sizeBytes), REASON)];
  }
  if (!hasLogsInMemory(input)) return [];
  const what = archived(input, wish);
  const others = OTHER_PROGRAMS.filter((unit) => hasUnit(input.root, unit)).map((unit) => maskUnit(unit, REASON));
  return [
    ...others,
    textFile(SCRIPT_PATH, script(wish.sizeBytes, what), REASON, { mode: 0o755 }),
    textFile(`${UNITS}/bramble-logs.service`, UNIT_TEXT, REASON),
    enableUnit("bramble-logs.service", `${UNITS}/bramble-logs.service`, REASON, "sysinit.target"),
    textFile(JOURNALD_PATH, journaldInMemory(wish.sizeBytes), REASON),
    ...(what === "nothing" ? [] : flushFiles(input, wish)),
  ];
}

function flushFiles({ root }: GenerationInput, wish: LogsWish): GeneratedFile[] {
  return [
    directory("/var/lib/bramble", REASON),
    textFile(`${UNITS}/bramble-logs-flush.service`, FLUSH_UNIT_TEXT, REASON),
    ...(wish.keep === "memory"
      ? [
          textFile(`${UNITS}/bramble-logs-flush.timer`, timerText(wish.flushS), REASON),
          enableUnit("bramble-logs-flush.timer", `${UNITS}/bramble-logs-flush.timer`, REASON, "timers.target"),
        ]
      : []),
    ...(root.isDirectory("/etc/apt/apt.conf.d")
      ? [textFile("/etc/apt/apt.conf.d/90bramble-logs", APT_HOOK, REASON)]
      : []),
  ];
}

/** What outlives a boot. Programs that log to a folder of their own expect it to be there, whatever becomes of the logs. */
type Archived = "logs" | "folders" | "nothing";

function archived({ rootMode }: GenerationInput, wish: LogsWish): Archived {
  if (rootMode !== "persistent") return "nothing";
  return wish.keep === "memory" ? "logs" : "folders";
}

function missingPrograms(root: ImageFiles): string[] {
  return PROGRAMS.filter((name) => !PROGRAM_FOLDERS.some((folder) => root.exists(`${folder}/${name}`)));
}

export function logWarnings(input: GenerationInput): string[] {
  const { node, facts, root, rootMode } = input;
  const wish = logsOf(input);
  if (wish === undefined) return [];
  if (facts.init !== "systemd") return [`The image of ${node.name} has no systemd: logs: does nothing there`];
  if (wish.keep === "disk") return [];
  const missing = missingPrograms(root);
  if (missing.length > 0) return [`The logs of ${node.name} stay on its disk: its image has no ${missing.join(", ")}`];
  if (wish.keep === "none" || rootMode === "persistent") return [];
  return [`The logs of ${node.name} are not flushed, as its root does not outlive a boot (root: ${rootMode})`];
}

function journaldLimits(bytes: number): string {
  return `[Journal]\nSystemMaxUse=${bytes}\nRuntimeMaxUse=${bytes}\n`;
}

/** "persistent" is where /var/log is: in memory here. The image may want it in /run, where nothing would flush it. */
function journaldInMemory(sizeBytes: number): string {
  const bytes = Math.floor(sizeBytes / JOURNAL_PART);
  return `${journaldLimits(bytes)}SystemMaxFileSize=${Math.floor(bytes / JOURNAL_FILES)}\nStorage=persistent\n`;
}

/** At the end in reverse: what writes logs has ended when this is stopped. */
const UNIT_TEXT = `[Unit]
Description=Logs in memory
DefaultDependencies=no
Conflicts=shutdown.target
After=systemd-remount-fs.service var-log.mount
Before=systemd-journal-flush.service systemd-tmpfiles-setup.service systemd-update-utmp.service sysinit.target shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=120
TimeoutStopSec=120
ExecStart=${SCRIPT_PATH} start
ExecStop=${SCRIPT_PATH} last

[Install]
WantedBy=sysinit.target
`;

const FLUSH_UNIT_TEXT = `[Unit]
Description=Bring logs from memory to disk
After=bramble-logs.service

[Service]
Type=oneshot
ExecStart=${SCRIPT_PATH} flush
`;

/** At another moment on each node. */
const timerText = (flushS: number) => `[Unit]
Description=Bring logs from memory to disk, again and again

[Timer]
OnActiveSec=${flushS}
OnUnitInactiveSec=${flushS}
RandomizedDelaySec=${Math.floor(flushS / 10)}

[Install]
WantedBy=timers.target
`;

/** A package may have made a folder for its logs, and would not start without it after a power cut. */
const APT_HOOK = `DPkg::Post-Invoke { "[ ! -d /run/systemd/system ] || systemctl --no-block start bramble-logs-flush.service || true"; };
`;

const script = (sizeBytes: number, what: Archived) => `#!/bin/sh
# Keeps /var/log in memory (logs: in the manifest), and brings it to disk; reports how that went.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
size_kib=${Math.floor(sizeBytes / 1024)}
archived=${what}
logs=/var/log
made=/run/bramble/log
archive=${ARCHIVE}
folders=${ARCHIVE.replace("logs.", "log-folders.")}
report=${SETTING_REPORT_FOLDER}/logs
mkdir -p "\${report%/*}"

# A word for the manager, and what a program said for the journal.
say() {
  [ -z "$2" ] || echo "Logs in memory ($1): $2" >&2
  echo "$1" > "$report.new" && mv "$report.new" "$report"
}

fail() {
  case $2 in
    *"No space left"*) set -- no-space "$2" ;;
    *"uota exceeded"*) set -- over-quota "$2" ;;
  esac
  tell "$1" "$2"
  exit 1
}

# Once the manager knows that the node is up, it hears of each change.
tell() {
  before=
  [ ! -e "$report" ] || read -r before rest < "$report"
  say "$1" "\${2:-}"
  [ "\${1%% *}" = "$before" ] || [ "$last" = yes ] || ${UP_SCRIPT_PATH} settings
}

${IS_MOUNTED}

folders_of() {
  (cd "$1" && find . -xdev -type d -print0 | tar --null --no-recursion --numeric-owner -T - -cf - )
}

fill() {
  folders_of "$logs" | tar -C "$made" --numeric-owner -xpf - || return 1
  [ ! -s "$folders" ] || tar -I gzip -C "$made" --numeric-owner -xpf "$folders" || return 1
  [ "$archived" = logs ] || return 0
  if [ -s "$archive" ]; then tar -I gzip -C "$made" --numeric-owner -xpf "$archive"; else cp -a "$logs/." "$made/"; fi
}

start() {
  if is_mounted "$logs"; then
    timeout 20 journalctl --flush
    return
  fi
  state=ready
  mkdir -p "$made"
  said=$(mount -t tmpfs -o "mode=0755,nosuid,nodev,noexec,size=\${size_kib}k" logs "$made" 2>&1) || fail mount-failed "$said"
  if ! said=$(fill 2>&1); then
    state=damaged
    case $said in *"No space left"*) state=too-large ;; esac
    find "$made" -mindepth 1 -delete
    [ ! -e "$archive" ] || mv -f "$archive" "$archive.unused"
    rm -f "$folders"
    folders_of "$logs" | tar -C "$made" --numeric-owner -xpf -
  fi
  mounted=$(mount --bind "$made" "$logs" 2>&1) || fail mount-failed "$mounted"
  umount "$made"
  say "$state" "$said"
}

# What tar calls an error of 1: a file changed while it was read, as logs do.
pack() {
  if [ "$archived" = logs ]; then
    tar -I 'gzip -1n' -C "$logs" --one-file-system --numeric-owner --sparse -cf "$1.new" .
  else
    folders_of "$logs" | gzip -1n > "$1.new"
  fi
  [ $? -le 1 ] && sync "$1.new" && mv -f "$1.new" "$1"
}

flush() {
  [ "$archived" != nothing ] || return 0
  is_mounted "$logs" || return 0
  target=$archive
  [ "$archived" = logs ] || target=$folders
  exec 9> /run/bramble/logs.lock
  flock 9
  # With either, the heads of its files say that nobody writes.
  if [ "$last" = yes ]; then how=--relinquish-var; else how=--sync; fi
  timeout 20 journalctl "$how" 2> /dev/null
  said=$(umask 077 && pack "$target" 2>&1) || {
    rm -f "$target.new"
    fail flush-failed "$said"
  }
  block_bytes=$(stat -f -c %S "$logs")
  free_kib=$(($(stat -f -c %a "$logs") * (block_bytes / 512) / 2))
  state=ready
  if [ $((free_kib * ${FULL_BELOW_PART})) -lt "$size_kib" ]; then
    state=full
    journal_kib=$(du -sk "$logs/journal" 2> /dev/null | cut -f 1)
    [ "$((\${journal_kib:-0} * 10))" -lt $((size_kib * 6)) ] || state=journal-full
  fi
  tell "$state $free_kib $size_kib"
}

last=
case $1 in
  start) start ;;
  flush) flush ;;
  last) last=yes; flush ;;
esac
`;
