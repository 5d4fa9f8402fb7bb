/**
 * What a node said of the settings that it has to make for itself at each boot (`logs`, `swap`, `packages` of the
 * manifest): whether it could.
 */

export interface SettingReport {
  setting: SettingName;
  /** `ready`, or what is wrong: a word of the node's script. */
  state: string;
  freeKiB?: number;
  sizeKiB?: number;
}

const SETTING_NAMES = ["logs", "swap", "packages"] as const;
export type SettingName = (typeof SETTING_NAMES)[number];

/** `logs full 100 65536; swap ready`: as the node's script puts them together. What is not understood is left out. */
export function parseSettingReports(text: string): SettingReport[] {
  return text.split(";").flatMap((part) => {
    const match = /^ ?(\w{1,16}) ([a-z-]{1,16})(?: (\d{1,12}) (\d{1,12}))?$/.exec(part);
    const setting = SETTING_NAMES.find((name) => name === match?.[1]);
    if (!match || setting === undefined || !(match[2]! in STATES[setting])) return [];
    const [, , state, free, size] = match;
    return [{ setting, state: state!, ...(free !== undefined && { freeKiB: Number(free), sizeKiB: Number(size) }) }];
  });
}

/** What is wrong, as a message; nothing when all is well. */
export function settingProblem(node: string, report: SettingReport): string | undefined {
  return STATES[report.setting][report.state]?.(node, report);
}

const SEE_PACKAGES = "see journalctl -u bramble-packages on the node";
const LOST_AT_POWER_CUT = "what was logged since the last flush is lost when it loses power";
const SEE_LOGS = "see journalctl -u 'bramble-logs*' on the node";

function room({ freeKiB = 0, sizeKiB = 0 }: SettingReport): string {
  const [free, size] = [freeKiB, sizeKiB].map((kib) => Math.floor(kib / 1024));
  return `${free} of ${size} MiB are free`;
}

type Explain = (node: string, report: SettingReport) => string | undefined;

const STATES: Record<SettingName, Record<string, Explain>> = {
  logs: {
    ready: () => undefined,
    full: (node, report) =>
      `The logs of ${node} nearly fill their memory: ${room(report)}; what writes to /var/log there has to keep less (logrotate), or raise logs.size`,
    "journal-full": (node, report) =>
      `The journal of ${node} nearly fills the memory of its logs: ${room(report)}; the node has a journald setting of its own that allows it more than half`,
    "too-large": (node) =>
      `The logs of ${node} begin anew: the earlier ones do not fit into logs.size; they stay in /var/lib/bramble/logs.tar.gz.unused on the node, or in /var/log of its disk`,
    damaged: (node) =>
      `The logs of ${node} begin anew: the earlier ones cannot be read; they stay in /var/lib/bramble/logs.tar.gz.unused on the node, and ${SEE_LOGS}`,
    "mount-failed": (node) => `Cannot keep the logs of ${node} in memory: mounting it failed; ${SEE_LOGS}`,
    "no-space": (node) =>
      `Cannot flush the logs of ${node}: there is no space; make room on the disk of the manager's state folder; ${LOST_AT_POWER_CUT}`,
    "over-quota": (node) =>
      `Cannot flush the logs of ${node}: its quota does not allow it; raise quota; ${LOST_AT_POWER_CUT}`,
    "flush-failed": (node) => `Cannot flush the logs of ${node}: ${SEE_LOGS}; ${LOST_AT_POWER_CUT}`,
  },
  swap: {
    ready: () => undefined,
    "no-zram": (node) =>
      `Cannot swap on ${node}: its kernel has no zram; use a kernel with it, or take swap: out of the manifest`,
    failed: (node) => `Cannot swap on ${node}: setting up zram failed; see journalctl -u bramble-swap on the node`,
  },
  packages: {
    ready: () => undefined,
    installing: () => undefined,
    unknown: (node) =>
      `Cannot install the packages of ${node}: its archives do not have all of them; correct packages:, or ${SEE_PACKAGES}`,
    "no-archive": (node) =>
      `Cannot install the packages of ${node}: it does not reach all of its archives; it tries again; ${SEE_PACKAGES}`,
    "no-space": (node) =>
      `Cannot install the packages of ${node}: there is no space, or its quota does not allow it; it tries again`,
    failed: (node) => `Cannot install the packages of ${node}: apt-get failed; it tries again; ${SEE_PACKAGES}`,
  },
};
