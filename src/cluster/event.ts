/**
 * Everything that can be told about a boot, as one closed union. The log, the command line, the dashboard and
 * the metrics all come from this feed, so they cannot disagree.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";

/** What happened, without when and to whom. */
export type BootOccurrence =
  | { kind: "dhcp-request"; message: string; mac: Mac; vendorClass?: string; serial?: string; model?: string }
  | { kind: "dhcp-reply"; message: string; mac: Mac; address?: Ipv4; responder: "proxy" | "server" }
  | { kind: "dhcp-ignored"; mac: Mac; reason: string }
  | { kind: "unknown-pi"; mac: Mac; serial?: string; model?: string }
  | { kind: "tftp-request"; path: string; client: Ipv4 }
  | { kind: "tftp-missing"; path: string; client: Ipv4; reason: string }
  | { kind: "tftp-probed"; path: string; client: Ipv4; sizeBytes: number }
  | { kind: "tftp-progress"; path: string; client: Ipv4; sentBytes: number; sizeBytes: number }
  | { kind: "tftp-complete"; path: string; client: Ipv4; sizeBytes: number; durationMs: number; retransmits: number }
  | { kind: "tftp-failed"; path: string; client: Ipv4; reason: string }
  | { kind: "mount"; tree: "boot" | "root"; client: Ipv4 }
  | { kind: "mount-refused"; path: string; client: Ipv4; reason: string }
  | {
      /** What a node did with its root in the last second. */
      kind: "root-activity";
      operations: number;
      readBytes: number;
      writtenBytes: number;
      /** Answers that say the manager, its disk or its limits are in the way. */
      failures: number;
      p50Ms?: number;
      p99Ms?: number;
      /** The files with the most bytes read and written lately. */
      mostRead?: string;
      mostWritten?: string;
    }
  | { kind: "up"; bootId: string }
  | { kind: "shutdown-seen" }
  | { kind: "reset" }
  | { kind: "snapshot-taken"; name: string }
  | { kind: "snapshot-restored"; name: string }
  /** The node has got the files of another one. */
  | { kind: "cloned"; from: string; snapshot?: string }
  | { kind: "manager-started"; version: string }
  | { kind: "manager-stopping" }
  /** A process that serves nodes ended by itself, so often in a row; their calls wait until it is back. */
  | { kind: "worker-crashed"; worker: number; reason: string; crashes: number; retryMs: number }
  | { kind: "manifest-loaded"; nodes: number }
  | { kind: "manifest-rejected"; problems: number }
  | { kind: "image-ready"; image: string }
  | { kind: "warning"; message: string };

/** One entry of the feed. `sequence` rises by one, and by more when the manager starts; `node` is the name in the manifest, absent for the LAN or the manager. */
export type BootEvent = BootOccurrence & {
  sequence: number;
  unixMs: number;
  node?: string;
};

export const STAGES = ["silent", "dhcp", "firmware", "kernel", "root", "up"] as const;
export type Stage = (typeof STAGES)[number];
