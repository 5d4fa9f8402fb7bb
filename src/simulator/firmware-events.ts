/** What a virtual Pi's boot loader tells while it works, and how it fails. */
import type { Ipv4 } from "../bytes/addresses.ts";

export type FirmwareEvent =
  /** A line of the serial log, in the boot loader's own words. */
  | { kind: "firmware-log"; text: string }
  | { kind: "dhcp"; message: "DISCOVER" | "OFFER" | "REQUEST" | "ACK" | "NAK"; server?: Ipv4 }
  | { kind: "address"; address: Ipv4; netmask: Ipv4; tftpServer: Ipv4; router?: Ipv4 }
  | { kind: "file-probed"; path: string; found: boolean }
  | { kind: "file-loaded"; path: string; sizeBytes: number; durationMs: number; retransmits: number }
  | { kind: "file-missing"; path: string; message: string };

export type FirmwareFailureReason =
  | "no-answer"
  | "no-boot-server"
  | "offer-not-noticed"
  | "address-refused"
  | "no-arp-reply"
  | "file-timeout"
  | "firmware-missing"
  | "device-tree-missing"
  | "kernel-missing"
  | "kernel-unusable";

/** Why the boot loader gave up this attempt: a word to test for, a sentence to read. */
export class FirmwareFailure extends Error {
  readonly reason: FirmwareFailureReason;
  /** The board does nothing more until its power is cut. */
  readonly isFinal: boolean;

  constructor(reason: FirmwareFailureReason, message: string, isFinal = false) {
    super(message);
    this.name = "FirmwareFailure";
    this.reason = reason;
    this.isFinal = isFinal;
  }
}
