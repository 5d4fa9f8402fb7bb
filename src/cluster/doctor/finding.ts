/** What `bramble doctor` says of a machine and its network: findings as data, and the exit code they make. */

/** `error`: Pis will not boot, or others are disturbed. `warning`: some will not, or not always. `note`: good to know. */
export type Severity = "error" | "warning" | "note";

export interface Finding {
  /** Names the kind, as in docs/DOCTOR.md: what `--ignore` takes. */
  id: FindingId;
  severity: Severity;
  what: string;
  /** What was seen that says so. */
  evidence: string;
  remedy: string;
}

/** Something that could not be looked at. */
export interface Skipped {
  what: string;
  why: string;
}

export interface Examination {
  /** The worst first. */
  findings: Finding[];
  skipped: Skipped[];
}

/** The result of looking at one thing. */
export type Looked<T> = { seen: T } | { skipped: string };

/** Every kind of finding; docs/DOCTOR.md has a row for each. */
export const FINDING_IDS = [
  "address-not-here",
  "address-outside-subnet",
  "clock-unsynchronised",
  "clock-wrong",
  "container-network",
  "dhcp-from-nobody",
  "dhcp-other-boot-server",
  "dhcp-other-subnet",
  "dhcp-several-servers",
  "dhcp-unusable-boot-options",
  "dhcp-without-boot-options",
  "dhcp-x86-boot-options",
  "disk-full",
  "disk-network",
  "disk-slow",
  "disk-small",
  "disk-volatile",
  "firewall-blocks",
  "firewall-unclear",
  "image-missing",
  "image-not-bootable",
  "interface-down",
  "interface-missing",
  "interface-without-address",
  "interface-without-carrier",
  "library-missing",
  "low-ports-forbidden",
  "manager-elsewhere",
  "manager-running",
  "manifest-wrong",
  "mtu-large",
  "mtu-small",
  "nat-network",
  "network-unclear",
  "node-old",
  "port-taken",
  "port-unusable",
  "raw-sockets-forbidden",
  "reverse-path-filter",
  "router-does-not-forward",
  "spanning-tree",
  "state-folder",
  "subnet-twice",
] as const;
export type FindingId = (typeof FINDING_IDS)[number];

const ORDER: readonly Severity[] = ["error", "warning", "note"];

export function worstFirst(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

/** 0 nothing but notes · 1 warnings · 2 errors. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ severity }) => severity === "error")) return 2;
  return findings.some(({ severity }) => severity === "warning") ? 1 : 0;
}
