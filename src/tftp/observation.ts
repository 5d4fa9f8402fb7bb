/** What the TFTP server tells about its work. Paths are normalised, but for `refused` and `malformed`. */
import type { UdpPeer } from "../ports.ts";

/** Why a file did not come whole, for programs; only what they ask for. */
export type TransferFailure =
  /** The client said nothing more. */
  | "silence"
  /** The client asks for something else from the same port. */
  | "superseded"
  /** The client sent an error. */
  | "stopped"
  /** Reading the file failed. */
  | "unreadable"
  | "too-many-transfers";

export type TftpObservation =
  /** `blockBytes` is what the client wishes, if it says. */
  | { kind: "request"; path: string; client: UdpPeer; blockBytes?: number }
  | { kind: "missing"; path: string; client: UdpPeer; reason: string }
  | { kind: "refused"; path: string; client: UdpPeer; reason: string }
  /** The client asked for the size and went away, as boot firmware does before most files. */
  | { kind: "probed"; path: string; client: UdpPeer; sizeBytes: number }
  /** At most every PROGRESS_MS for one transfer. */
  | { kind: "progress"; path: string; client: UdpPeer; sentBytes: number; sizeBytes: number }
  | {
      kind: "complete";
      path: string;
      client: UdpPeer;
      sizeBytes: number;
      durationMs: number;
      retransmits: number;
    }
  /** `progress` is there when a transfer had begun. */
  | {
      kind: "failed";
      path: string;
      client: UdpPeer;
      reason: string;
      cause?: TransferFailure;
      progress?: TransferProgress;
    }
  | { kind: "malformed"; client: UdpPeer; reason: string };

export interface TransferProgress {
  /** Acknowledged by the client. */
  sentBytes: number;
  sizeBytes: number;
  blockBytes: number;
  retransmits: number;
}

export const PROGRESS_MS = 250;
