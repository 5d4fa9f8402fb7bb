/**
 * How a node says that it is up, and that it is going down: it writes a file to its own root, and the manager, which
 * serves that root, sees the write. No agent and no open port.
 */
import type { GeneratedFile } from "../generated-file.ts";
import { directory, enableUnit, type GenerationInput, imageText, textFile } from "./placing.ts";

const REASON = "up report";
export const UP_REPORT_PATH = "/var/lib/bramble/up";
const SCRIPT_PATH = "/usr/lib/bramble/up";
const UNIT = "bramble-up.service";

const SCRIPT = `#!/bin/sh
# Tells the manager that this node is up, or with the word "down" that it is not: it serves this file system and sees
# the write.
read -r boot_id < /proc/sys/kernel/random/boot_id
read -r uptime_s rest < /proc/uptime
printf '%s %s %s\\n' "$boot_id" "$uptime_s" "\${1:-up}" > ${UP_REPORT_PATH}
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

export interface UpReport {
  state: "up" | "down";
  /** Changes with every start of the kernel. */
  bootId: string;
  uptimeS: number;
}

/** Reads what the script wrote; `undefined` while it is still being written, or is something else. */
export function parseUpReport(content: Uint8Array): UpReport | undefined {
  const match = /^([0-9a-f-]{36}) (\d+(?:\.\d+)?) (up|down)\n$/.exec(
    Buffer.from(content.subarray(0, 128)).toString("latin1"),
  );
  return match ? { state: match[3] as UpReport["state"], bootId: match[1]!, uptimeS: Number(match[2]) } : undefined;
}

export function upReportFiles({ facts, root }: GenerationInput): GeneratedFile[] {
  const script = [directory("/var/lib/bramble", REASON), textFile(SCRIPT_PATH, SCRIPT, REASON, { mode: 0o755 })];
  if (facts.init === "systemd") {
    const path = `/etc/systemd/system/${UNIT}`;
    return [...script, textFile(path, UNIT_TEXT, REASON), enableUnit(UNIT, path, REASON)];
  }
  const inittab = imageText(root, "/etc/inittab");
  if (facts.init !== "busybox" || inittab === undefined || inittab.includes(SCRIPT_PATH)) return script;
  // First: shutdown actions run in the order of their lines, and the image's own unmount the root.
  const lines = `::once:${SCRIPT_PATH}\n::shutdown:${SCRIPT_PATH} down\n`;
  return [...script, textFile("/etc/inittab", `${lines}${inittab}`, REASON)];
}
