/**
 * Everything that can be told about a boot, as one closed union. The log, the command line, the dashboard and
 * the metrics all come from this feed, so they cannot disagree.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { OtherServerAnswer } from "../dhcp/other-server.ts";
import type { IgnoreCause } from "../dhcp/policy.ts";
import type { MountRefusal } from "../nfs/exports.ts";
import type { KnownRefusal } from "../nfs/rpc.ts";
import type { BootLoader } from "../pi/boot-loader.ts";
import type { TransferFailure } from "../tftp/observation.ts";
import type { ClusterProblem } from "./cluster-problem.ts";
import type { StorageReport } from "./container-storage.ts";
import type { SettingReport } from "./setting-report.ts";

/** What happened, without when and to whom. */
export type BootOccurrence =
  | {
      kind: "dhcp-request";
      message: string;
      mac: Mac;
      vendorClass?: string;
      serial?: string;
      model?: string;
      /** Which program of a Pi asks, as far as its DISCOVER tells. */
      loader?: BootLoader;
      /** The relay agent it came through. */
      relay?: Ipv4;
      /** The server whose offer it takes (option 54). */
      server?: Ipv4;
      /** The address that it asks for or uses. */
      address?: Ipv4;
    }
  | { kind: "dhcp-reply"; message: string; mac: Mac; address?: Ipv4; responder: "proxy" | "server" }
  | { kind: "dhcp-ignored"; mac: Mac; reason: string; cause?: IgnoreCause }
  /** Somebody else has the address that was to be offered to `mac`. */
  | { kind: "address-conflict"; mac: Mac; address: Ipv4; holder: Mac }
  /** Another DHCP server spoke, to a node or to anybody. */
  | ({ kind: "dhcp-other-server"; mac: Mac } & OtherServerAnswer)
  | { kind: "unknown-pi"; mac: Mac; serial?: string; model?: string }
  /** The same Pi has become the node that this is about, by itself (`adopt: auto`). */
  | { kind: "adopted"; mac: Mac; serial?: string; model?: string }
  /** `blockBytes` is what the client wishes; absent when it says nothing. */
  | { kind: "tftp-request"; path: string; client: Ipv4; blockBytes?: number }
  /** `isRefused`: it was no plain read of a file below the boot tree. */
  | { kind: "tftp-missing"; path: string; client: Ipv4; reason: string; isRefused?: true }
  | { kind: "tftp-probed"; path: string; client: Ipv4; sizeBytes: number }
  | { kind: "tftp-progress"; path: string; client: Ipv4; sentBytes: number; sizeBytes: number }
  | { kind: "tftp-complete"; path: string; client: Ipv4; sizeBytes: number; durationMs: number; retransmits: number }
  | {
      kind: "tftp-failed";
      path: string;
      client: Ipv4;
      reason: string;
      cause?: TransferFailure;
      /** Present when it had begun. */
      sentBytes?: number;
      sizeBytes?: number;
      blockBytes?: number;
      retransmits?: number;
    }
  /** A line that its boot loader or its kernel printed, by netconsole. `dropped`: so many before it came too fast. */
  | { kind: "console-line"; client: Ipv4; text: string; dropped?: number }
  | { kind: "mount"; tree: "boot" | "root"; client: Ipv4 }
  | { kind: "mount-refused"; path: string; client: Ipv4; cause: MountRefusal; reason: string }
  /** A client speaks a version of NFS or MOUNT that is not served. */
  | { kind: "nfs-version-refused"; client: Ipv4; program: string; version: number }
  | {
      /** What a node did with its root in the last second. */
      kind: "root-activity";
      operations: number;
      readBytes: number;
      writtenBytes: number;
      /** Answers that say the manager, its disk or its limits are in the way. */
      failures: number;
      /** Which of them, by status; those that did not happen are absent. */
      failed?: Partial<Record<string, number>>;
      p50Ms?: number;
      p99Ms?: number;
      /** The files with the most bytes read and written lately. */
      mostRead?: string;
      mostWritten?: string;
    }
  | { kind: "up"; bootId: string }
  /** What the node found when it made and tried the storage of its containers. */
  | ({ kind: "storage-tried" } & StorageReport)
  /** It is a member of the cluster as it should be, and work was tried on it. */
  | { kind: "joined"; bootId: string }
  /** It was. */
  | { kind: "left"; reason: string }
  /** Of making the cluster what the manifest says; `step` is a kind of the orchestrator's. */
  | { kind: "step-begun"; step: string; title: string }
  | { kind: "step-done"; step: string; title: string; durationMs: number }
  | { kind: "step-failed"; step: string; title: string; durationMs: number; cause: string; message: string }
  /** All that stands in the way of the cluster. Told when it changes; empty when all is well again. */
  | { kind: "cluster-problems"; problems: readonly ClusterProblem[] }
  /** Ansible has done on it all that the manifest says, in the boot with this id; `fingerprint` is of those settings. */
  | { kind: "configured"; fingerprint: string; bootId: string; changed: number }
  | { kind: "configure-failed"; fingerprint: string; bootId: string; message: string }
  /** What the node says of `logs`, `swap` and `packages` of the manifest; told again when it changes. */
  | { kind: "settings-made"; settings: readonly SettingReport[] }
  | { kind: "shutdown-seen" }
  /** It is up, nothing was heard of it since `sinceMs`, and nobody answers ARP for its address. */
  | { kind: "no-answer"; address: Ipv4; sinceMs: number }
  /** Somebody does again, after that. */
  | { kind: "answers-again" }
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
  /** What keeps a node from booting, or may, as its plan tells. Told when it changes; empty when all is well again. */
  | { kind: "planned"; problems: readonly string[]; warnings: readonly string[] }
  /** `about` tells programs what it is about. */
  | { kind: "warning"; message: string; about?: WarningTopic }
  /** Why a node does not get on, or what is wrong with the network: as long as there is no other, and it is not cleared. */
  | { kind: "diagnosis"; cause: string; title: string; evidence: string; remedy: string }
  | { kind: "diagnosis-cleared"; cause: string };

export type WarningTopic =
  | "sending"
  | "dhcp-packet"
  | "dhcp-answer"
  | "tftp-packet"
  | "forbidden-handle"
  | "connection-ended"
  | "nfs-call"
  | KnownRefusal
  | "volume-fault"
  | "root-copy-failed"
  | "root-too-large"
  | "network-changed";

/** One entry of the feed. `sequence` rises by one, and by more when the manager starts; `node` is the name in the manifest, absent for the LAN or the manager. */
export type BootEvent = BootOccurrence & {
  sequence: number;
  unixMs: number;
  node?: string;
};

/** The last one is reached only where an orchestrator makes a cluster. */
export const STAGES = ["silent", "dhcp", "firmware", "kernel", "root", "up", "joined"] as const;
export type Stage = (typeof STAGES)[number];

/** Its system runs. */
export function isUp(stage: string | undefined): boolean {
  return stage === "up" || stage === "joined";
}
