/**
 * How a node says that it is up, and that it is going down: it writes a file to its own root, and the manager, which
 * serves that root, sees the write. No agent and no open port. A node whose root is in memory mounts the served one for
 * the moment of the write.
 */
import type { Ipv4 } from "../../bytes/addresses.ts";
import { containerStorageOf, parseStorageReport, type StorageReport } from "../container-storage.ts";
import { rootExport } from "../export-paths.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { parseSettingReports, type SettingReport } from "../setting-report.ts";
import { directory, enableUnit, type GenerationInput, imageText, textFile } from "./placing.ts";
import { SERVED_ROOT_FOLDER } from "./ram-root.ts";

const REASON = "up report";
export const UP_REPORT_PATH = "/var/lib/bramble/up";
const SCRIPT_PATH = "/usr/lib/bramble/up";
const UNIT = "bramble-up.service";
export const UP_SCRIPT_PATH = SCRIPT_PATH;
/** In memory, of this boot alone. */
export const STORAGE_REPORT_PATH = "/run/bramble/storage";
/** A file for each setting, by its name: `logs`, `swap`, `packages`. */
export const SETTING_REPORT_FOLDER = "/run/bramble/settings";
/** There as long as the manager knows this node to be up: before that, settings wait to go with the report of it. */
const TOLD_PATH = "/run/bramble/up";

/** What the storage of containers reported before goes with it. */
const READ_STORAGE = `[ "$word" != up ] || ! read -r said < ${STORAGE_REPORT_PATH} || more=" storage $said"
`;
const READ_SETTINGS = `[ "$word" != settings ] || [ -e ${TOLD_PATH} ] || exit 0
if [ "$word" = down ]; then rm -f ${TOLD_PATH}; else mkdir -p ${TOLD_PATH.slice(0, TOLD_PATH.lastIndexOf("/"))} && : > ${TOLD_PATH}; fi
for file in ${SETTING_REPORT_FOLDER}/*; do
  [ "$word" = down ] || [ ! -e "$file" ] || ! read -r said < "$file" || more="$more; \${file##*/} $said"
done
`;

interface Reported {
  storage: boolean;
  settings: boolean;
}

const readMore = ({ storage, settings }: Reported) =>
  `word=\${1:-up}\nmore=\n${storage ? READ_STORAGE : ""}${settings ? READ_SETTINGS : ""}`;

const script = (reported: Reported) => `#!/bin/sh
# Tells the manager that this node is up, or with the word "down" that it is not: it serves this file system and sees
# the write.
read -r boot_id < /proc/sys/kernel/random/boot_id
read -r uptime_s rest < /proc/uptime
${readMore(reported)}printf '%s %s %s\\n' "$boot_id" "$uptime_s" "$word$more" > ${UP_REPORT_PATH}
`;

/**
 * "soft": a manager that is gone costs seconds and no more. Coming up, it tries for about a minute, since a manager may
 * just be starting; going down, once. Neither is a failure of the node's.
 */
const MEMORY_SCRIPT = (source: string, options: string, reported: Reported) => `#!/bin/sh
# Tells the manager that this node is up, or with the word "down" that it is not, by a write to the file system that the
# node was copied from.
served=${SERVED_ROOT_FOLDER}
${readMore(reported)}
report() {
  mount -i -t nfs -o ${options} ${source} "$served" || return 1
  read -r boot_id < /proc/sys/kernel/random/boot_id
  read -r uptime_s rest < /proc/uptime
  echo "$boot_id $uptime_s $word$more" > "$served${UP_REPORT_PATH}"
  written=$?
  umount -i "$served" || umount -l "$served"
  return $written
}

if [ "$word" = down ]; then
  report
else
  for attempt in 1 2 3 4 5 6 7; do
    report && break
    sleep 8
  done
fi
exit 0
`;

const UNIT_TEXT = `[Unit]
Description=Tell the Bramble manager that this node is up
After=ssh.service sshd.service systemd-user-sessions.service network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${SCRIPT_PATH}
ExecStop=${SCRIPT_PATH} down

[Install]
WantedBy=multi-user.target
`;

/** `memory-short` and `copy-failed` come from the program of a root in memory, which then starts the node again. */
export type UpReport = {
  /** Changes with every start of the kernel. */
  bootId: string;
  uptimeS: number;
} & (
  | { state: "up"; storage?: StorageReport; settings?: SettingReport[] }
  /** Of a node that is up: something of them has changed. */
  | { state: "settings"; settings: SettingReport[] }
  | { state: "down" | "copy-failed" }
  | { state: "memory-short"; neededKiB: number; availableKiB: number }
);

/** With what storage and settings say. */
export const UP_REPORT_BYTES_MAX = 320;

/** Reads what a script wrote; `undefined` while it is still being written, or is something else. */
export function parseUpReport(content: Uint8Array): UpReport | undefined {
  const match =
    /^([0-9a-f-]{36}) (\d+(?:\.\d+)?) (?:(up|down|copy-failed|settings)(?: storage ([^;\n]+))?(?:; ([^\n]+))?|memory-short (\d{1,12}) (\d{1,12}))\n$/.exec(
      Buffer.from(content.subarray(0, UP_REPORT_BYTES_MAX)).toString("latin1"),
    );
  if (!match) return undefined;
  const [, bootId, uptime, state, said, settingText, needed, available] = match;
  const boot = { bootId: bootId!, uptimeS: Number(uptime) };
  const settings = settingText === undefined ? undefined : parseSettingReports(settingText);
  if (state === "settings") return { ...boot, state, settings: settings ?? [] };
  if (state === "up") {
    const storage = said === undefined ? undefined : parseStorageReport(said);
    return { ...boot, state, ...(storage && { storage }), ...(settings && { settings }) };
  }
  if (state !== undefined) return { ...boot, state: state as "down" | "copy-failed" };
  return { ...boot, state: "memory-short", neededKiB: Number(needed), availableKiB: Number(available) };
}

export function upReportFiles(input: GenerationInput): GeneratedFile[] {
  const { facts, root, rootMode } = input;
  const text = rootMode === "ram" ? memoryScript(input) : script(reported(input));
  const placed = [directory("/var/lib/bramble", REASON), textFile(SCRIPT_PATH, text, REASON, { mode: 0o755 })];
  if (facts.init === "systemd") {
    const path = `/etc/systemd/system/${UNIT}`;
    return [...placed, textFile(path, UNIT_TEXT, REASON), enableUnit(UNIT, path, REASON)];
  }
  const inittab = imageText(root, "/etc/inittab");
  if (facts.init !== "busybox" || inittab === undefined || inittab.includes(SCRIPT_PATH)) return placed;
  // First: shutdown actions run in the order of their lines, and the image's own unmount the root.
  const lines = `::once:${SCRIPT_PATH}\n::shutdown:${SCRIPT_PATH} down\n`;
  return [...placed, textFile("/etc/inittab", `${lines}${inittab}`, REASON)];
}

function reported({ manifest, node, facts }: GenerationInput): Reported {
  const isSystemd = facts.init === "systemd";
  const packages = manifest.packages.length + node.packages.length > 0 ? true : undefined;
  const wished = [node.logs ?? manifest.logs, node.swap ?? manifest.swap, packages];
  return {
    storage: isSystemd && containerStorageOf(manifest, node) !== undefined,
    settings: isSystemd && wished.some((wish) => wish !== undefined),
  };
}

function memoryScript(input: GenerationInput): string {
  const { node, ports, serverAddress } = input;
  return MEMORY_SCRIPT(
    `${serverAddress}:${rootExport(node.name)}`,
    softMountOptions(ports, serverAddress),
    reported(input),
  );
}

/** As the kernel takes them, without a helper. `timeo` is in tenths of a second. */
function softMountOptions(ports: GenerationInput["ports"], serverAddress: Ipv4): string {
  const server = [`port=${ports.nfs}`, `mountport=${ports.mount}`, `addr=${serverAddress}`];
  return ["vers=3", "proto=tcp", "mountproto=tcp", "nolock", "soft", "timeo=30", "retrans=1", ...server].join(",");
}
