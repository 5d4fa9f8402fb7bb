import { BoundedCache } from "../../cache/bounded-cache.ts";
import { EXT4_RUNS_CACHED_MAX } from "../../limits.ts";
import { OneRun, type Runs } from "./file-runs.ts";

/** Where the contents of one inode are: in blocks, or in the inode itself. */
export type FileMap = { sizeBytes: number } & ({ runs: Runs } | { inline: Uint8Array });

const PAGE_INODES = 64;
/** Size of the file, first block of its only run, blocks of that. */
const NUMBERS = 3;
/** In place of a size. */
const NOT_ASKED = -1;
const KEPT_BY_ITSELF = -2;

/**
 * The maps of the files read lately. Nearly every file is one run from its start on, and takes 24 bytes here; as objects it
 * would take 230.
 */
export class FileMaps {
  readonly #load: (id: number) => FileMap;
  readonly #pages = new BoundedCache<Float64Array>(EXT4_RUNS_CACHED_MAX, () => PAGE_INODES);
  readonly #others = new BoundedCache<FileMap>(EXT4_RUNS_CACHED_MAX, (map) =>
    "runs" in map ? map.runs.count + 1 : 1 + Math.ceil(map.inline.length / 24),
  );

  /** `load` reads the map of a file, or throws. */
  constructor(load: (id: number) => FileMap) {
    this.#load = load;
  }

  get(id: number): FileMap {
    const page = this.#pages.getOrMake(Math.floor(id / PAGE_INODES), emptyPage);
    const at = (id % PAGE_INODES) * NUMBERS;
    const sizeBytes = page[at]!;
    if (sizeBytes >= 0) return { sizeBytes, runs: new OneRun(page[at + 1]!, page[at + 2]!) };
    if (sizeBytes === KEPT_BY_ITSELF) return this.#others.getOrMake(id, this.#load);
    const map = this.#load(id);
    const run = "runs" in map ? map.runs.only() : undefined;
    if (run === undefined) {
      page[at] = KEPT_BY_ITSELF;
      return this.#others.getOrMake(id, () => map);
    }
    page[at] = map.sizeBytes;
    page[at + 1] = run.sourceBlock;
    page[at + 2] = run.countBlocks;
    return map;
  }
}

function emptyPage(): Float64Array {
  return new Float64Array(PAGE_INODES * NUMBERS).fill(NOT_ASKED);
}
