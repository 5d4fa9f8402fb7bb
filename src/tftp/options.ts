/**
 * What is agreed before a transfer: RFC 2347 (options), 2348 (blksize), 2349 (tsize, timeout), 7440 (windowsize).
 * An option that makes no sense is left out of the answer, as RFC 2347 asks; none is added that was not asked for.
 */
import { TFTP_BLOCK_BYTES_MAX, TFTP_WINDOW_BLOCKS_MAX, TFTP_WINDOW_BYTES_MAX } from "../limits.ts";
import type { TftpOptions } from "./packet.ts";

export interface Agreement {
  blockBytes: number;
  windowBlocks: number;
  /** The client's wish for the retransmission interval. */
  timeoutMs?: number;
  /** What the OACK says, in the order asked. Empty: no OACK, the transfer starts with block 1. */
  acknowledged: TftpOptions;
}

const DEFAULT_BLOCK_BYTES = 512;
const BLOCK_BYTES_MIN = 8;

/** `blockBytesMax` keeps packets whole on the link: 1468 for Ethernet, since boot loaders do not reassemble. */
export function agree(asked: TftpOptions, sizeBytes: number, blockBytesMax: number): Agreement {
  const acknowledged = new Map<string, string>();
  const agreement: Agreement = { blockBytes: DEFAULT_BLOCK_BYTES, windowBlocks: 1, acknowledged };
  for (const [name, value] of asked) {
    switch (name) {
      case "tsize":
        acknowledged.set(name, String(sizeBytes));
        break;
      case "blksize": {
        const wish = integer(value, BLOCK_BYTES_MIN, TFTP_BLOCK_BYTES_MAX);
        if (wish === undefined) break;
        agreement.blockBytes = Math.min(wish, blockBytesMax);
        acknowledged.set(name, String(agreement.blockBytes));
        break;
      }
      case "timeout": {
        const wish = integer(value, 1, 255);
        if (wish === undefined) break;
        agreement.timeoutMs = wish * 1000;
        acknowledged.set(name, String(wish));
        break;
      }
      case "windowsize": {
        const wish = integer(value, 1, 65535);
        if (wish === undefined) break;
        agreement.windowBlocks = Math.min(wish, TFTP_WINDOW_BLOCKS_MAX);
        acknowledged.set(name, "");
        break;
      }
    }
  }
  // Only now is the block size known, whichever came first.
  if (acknowledged.has("windowsize")) {
    const fitting = Math.max(1, Math.floor(TFTP_WINDOW_BYTES_MAX / agreement.blockBytes));
    agreement.windowBlocks = Math.min(agreement.windowBlocks, fitting);
    acknowledged.set("windowsize", String(agreement.windowBlocks));
  }
  return agreement;
}

/** The block size a client asks for; `undefined` when it asks for none, or for none that there is. */
export function wishedBlockBytes(asked: TftpOptions): number | undefined {
  const wish = asked.get("blksize");
  return wish === undefined ? undefined : integer(wish, BLOCK_BYTES_MIN, TFTP_BLOCK_BYTES_MAX);
}

function integer(text: string, minimum: number, maximum: number): number | undefined {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return value >= minimum && value <= maximum ? value : undefined;
}
