/**
 * The packet capture file that tcpdump and Wireshark read: draft-ietf-opsawg-pcap, version 2.4, microseconds, Ethernet.
 * Left out: reading, and pcapng.
 */
import { Writer } from "../../bytes/writer.ts";

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const VERSION = { major: 2, minor: 4 };
const LINKTYPE_ETHERNET = 1;
/** No record holds more. */
const FRAME_BYTES_MAX = 65_535;

export interface CapturedFrame {
  /** Microseconds since 1970 UTC. */
  unixUs: number;
  /** From the destination address on; perhaps only the first part. */
  frame: Uint8Array;
  /** Of the whole frame. */
  frameBytes: number;
}

/** What a file begins with. */
export function pcapHeader(): Uint8Array {
  return new Writer(24)
    .u32(MAGIC_MICROSECONDS)
    .u16(VERSION.major)
    .u16(VERSION.minor)
    .u32(0) // reserved: once the time zone
    .u32(0) // reserved: once the accuracy
    .u32(FRAME_BYTES_MAX)
    .u32(LINKTYPE_ETHERNET)
    .finish();
}

export function pcapRecord({ unixUs, frame, frameBytes }: CapturedFrame): Uint8Array {
  const kept = frame.subarray(0, FRAME_BYTES_MAX);
  return new Writer(16 + kept.length)
    .u32(Math.floor(unixUs / 1_000_000) % 2 ** 32)
    .u32(unixUs % 1_000_000)
    .u32(kept.length)
    .u32(frameBytes)
    .bytes(kept)
    .finish();
}
