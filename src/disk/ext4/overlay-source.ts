import type { ByteSource } from "../../ports.ts";

/** Where the contents of a block really are. */
export interface OverlayBlock {
  sourceOffset: number;
  /** The first four bytes, when they are others than those that stand there. */
  head?: Uint8Array;
}

/** A source in which some blocks come from another place of the same source. Closing it closes that one. */
export function overlaySource(
  source: ByteSource,
  blockBytes: number,
  replaced: ReadonlyMap<number, OverlayBlock>,
): ByteSource {
  interface Piece extends OverlayBlock {
    target: Uint8Array;
    skippedBytes: number;
  }

  function replacedPieces(target: Uint8Array, offset: number): Piece[] {
    const pieces: Piece[] = [];
    const end = offset + target.length;
    for (let block = Math.floor(offset / blockBytes); block * blockBytes < end; block++) {
      const replacement = replaced.get(block);
      if (replacement === undefined) continue;
      const from = Math.max(offset, block * blockBytes);
      const to = Math.min(end, (block + 1) * blockBytes);
      const skippedBytes = from - block * blockBytes;
      pieces.push({ ...replacement, skippedBytes, target: target.subarray(from - offset, to - offset) });
    }
    return pieces;
  }

  function patchHead({ head, target, skippedBytes }: Piece): void {
    if (head === undefined || skippedBytes >= head.length) return;
    target.set(head.subarray(skippedBytes, skippedBytes + target.length));
  }

  return {
    sizeBytes: source.sizeBytes,
    readSync(target, offset) {
      source.readSync(target, offset);
      for (const piece of replacedPieces(target, offset)) {
        source.readSync(piece.target, piece.sourceOffset + piece.skippedBytes);
        patchHead(piece);
      }
    },
    readNow(target, offset) {
      if (!source.readNow(target, offset)) return false;
      return replacedPieces(target, offset).every((piece) => {
        const isThere = source.readNow(piece.target, piece.sourceOffset + piece.skippedBytes);
        if (isThere) patchHead(piece);
        return isThere;
      });
    },
    rangeNow(offset, lengthBytes) {
      for (let block = Math.floor(offset / blockBytes); block * blockBytes < offset + lengthBytes; block++) {
        if (replaced.has(block)) return undefined;
      }
      return source.rangeNow?.(offset, lengthBytes);
    },
    async read(target, offset) {
      await source.read(target, offset);
      for (const piece of replacedPieces(target, offset)) {
        await source.read(piece.target, piece.sourceOffset + piece.skippedBytes);
        patchHead(piece);
      }
    },
    close: () => source.close(),
  };
}
