/**
 * Which packets of TFTP are worth keeping: requests, answers to them, errors, and of each file the first blocks and the
 * last with their acknowledgements. It is asked for every packet, so it must be quick and forget.
 */
import type { UdpPeer } from "../../ports.ts";
import { OPCODE } from "../../tftp/packet.ts";

const FIRST_BLOCKS = 2;
/** Sizes of full packets that were seen; firmware has three or four. */
const SIZES_MAX = 64;
const LAST_BLOCKS_MAX = 1024;
const HEADER_BYTES = 4;

export class TftpSample {
  /** A packet of another size than block 1 of any transfer is taken for the last of its file. */
  readonly #fullSizes = new Set<number>();
  /** Whose acknowledgement of which block ends a transfer. */
  readonly #lastBlocks = new Map<string, number>();

  /** `head` is the beginning of a packet of so many bytes, or all of it; `peer` is the client. */
  wants(head: Uint8Array, lengthBytes: number, peer: UdpPeer): boolean {
    if (head.length < HEADER_BYTES || head[0] !== 0) return true;
    const opcode = head[1];
    if (opcode !== OPCODE.data && opcode !== OPCODE.acknowledge) return true;
    const block = (head[2]! << 8) | head[3]!;
    if (opcode === OPCODE.data) return this.#wantsData(lengthBytes, block, peer);
    return block <= FIRST_BLOCKS || (this.#lastBlocks.size > 0 && this.#isLast(block, peer));
  }

  #wantsData(lengthBytes: number, block: number, peer: UdpPeer): boolean {
    if (block === 1) {
      if (this.#fullSizes.size >= SIZES_MAX) this.#fullSizes.clear();
      this.#fullSizes.add(lengthBytes);
    }
    if (block <= FIRST_BLOCKS) return true;
    if (this.#fullSizes.has(lengthBytes)) return false;
    if (this.#lastBlocks.size >= LAST_BLOCKS_MAX) this.#lastBlocks.clear();
    this.#lastBlocks.set(keyOf(peer), block);
    return true;
  }

  #isLast(block: number, peer: UdpPeer): boolean {
    const key = keyOf(peer);
    if (this.#lastBlocks.get(key) !== block) return false;
    this.#lastBlocks.delete(key);
    return true;
  }
}

function keyOf({ address, port }: UdpPeer): string {
  return `${address}:${port}`;
}
