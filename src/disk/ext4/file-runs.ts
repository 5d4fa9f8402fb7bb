/**
 * Where the blocks of a file lie. Both ways that ext4 knows (extent trees and the block maps of ext2) end up as
 * runs in ascending order; holes and blocks that were reserved but never written have none and read as zeros.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { EXT4_FILE_RUNS_MAX } from "../../limits.ts";
import { outside } from "./metadata-blocks.ts";

export interface FoundRun {
  /** 0 for a hole. */
  sourceBlock: number;
  countBlocks: number;
}

export interface Runs {
  readonly count: number;
  /**
   * What holds `fileBlock`: a run from it on (`sourceBlock`), or a hole (`sourceBlock` 0), and for how many
   * blocks (`Infinity` for the hole behind the last run).
   */
  find(fileBlock: number): FoundRun;
  /** The run that is all of the file, from its first block on; of 0 blocks when nothing was ever written. */
  only(): FoundRun | undefined;
}

const NOTHING: FoundRun = { sourceBlock: 0, countBlocks: Infinity };

/** A file that lies in one piece. */
export class OneRun implements Runs {
  readonly #sourceBlock: number;
  readonly #countBlocks: number;

  constructor(sourceBlock: number, countBlocks: number) {
    this.#sourceBlock = sourceBlock;
    this.#countBlocks = countBlocks;
  }

  get count(): number {
    return this.#countBlocks === 0 ? 0 : 1;
  }

  find(fileBlock: number): FoundRun {
    if (fileBlock >= this.#countBlocks) return NOTHING;
    return { sourceBlock: this.#sourceBlock + fileBlock, countBlocks: this.#countBlocks - fileBlock };
  }

  only(): FoundRun {
    return { sourceBlock: this.#sourceBlock, countBlocks: this.#countBlocks };
  }
}

export class FileRuns implements Runs {
  /** Three numbers a run: first block in the file, first block in the file system, count of blocks. */
  #runs: number[] = [];

  get count(): number {
    return this.#runs.length / 3;
  }

  /** Adds a run behind all others, and joins it with the last one where both are contiguous. */
  add(fileBlock: number, sourceBlock: number, countBlocks: number, format: string, blocksCount: number): void {
    if (sourceBlock < 1 || sourceBlock + countBlocks > blocksCount) {
      throw outside(sourceBlock + countBlocks - 1, blocksCount, format, `data of file block ${fileBlock}`);
    }
    const runs = this.#runs;
    const last = runs.length - 3;
    if (last >= 0) {
      const lastCount = runs[last + 2]!;
      if (runs[last]! + lastCount === fileBlock && runs[last + 1]! + lastCount === sourceBlock) {
        runs[last + 2] = lastCount + countBlocks;
        return;
      }
    }
    if (this.count >= EXT4_FILE_RUNS_MAX) {
      throw new DecodeError(
        format,
        `file block ${fileBlock}`,
        `the file lies in more than ${EXT4_FILE_RUNS_MAX} pieces`,
      );
    }
    // An array that is pushed to has room for 16 more, which most would never use.
    if (last < 0) this.#runs = [fileBlock, sourceBlock, countBlocks];
    else runs.push(fileBlock, sourceBlock, countBlocks);
  }

  find(fileBlock: number): FoundRun {
    const runs = this.#runs;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle * 3]! + runs[middle * 3 + 2]! <= fileBlock) low = middle + 1;
      else high = middle;
    }
    if (low === this.count) return NOTHING;
    const first = runs[low * 3]!;
    if (fileBlock < first) return { sourceBlock: 0, countBlocks: first - fileBlock };
    const skipped = fileBlock - first;
    return { sourceBlock: runs[low * 3 + 1]! + skipped, countBlocks: runs[low * 3 + 2]! - skipped };
  }

  only(): FoundRun | undefined {
    const [fileBlock = 0, sourceBlock = 0, countBlocks = 0] = this.#runs;
    return this.#runs.length <= 3 && fileBlock === 0 ? { sourceBlock, countBlocks } : undefined;
  }
}
