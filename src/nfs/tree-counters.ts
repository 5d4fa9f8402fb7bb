/**
 * What clients do in one tree, counted while they are served. Counting must cost nothing that can be measured: it allocates
 * nothing, and of procedures that change nothing only one call in four is timed, as reading the clock twice is a fiftieth of
 * a GETATTR. A timed one counts for four.
 *
 * Latency is from the call's arguments being read to its answer being known: neither the time in sockets nor that of
 * encoding is in it.
 */
import type { FileName } from "../bytes/file-name.ts";
import { type HeavyHitter, HeavyHitters } from "./heavy-hitters.ts";
import { type LatencyCounts, LatencyHistogram } from "./latency-histogram.ts";
import { type SeenName, SeenNames } from "./seen-names.ts";
import type { NfsStatus } from "./volume.ts";

/** Of calls that change nothing, one in so many is timed. */
const TIMED_ONE_IN = 4;
/** So many of all signed 32-bit numbers are smaller. */
const TIMED_BELOW = -(2 ** 31) + 2 ** 32 / TIMED_ONE_IN;

/** RFC 1813 has procedures 0 to 21. */
const PROCEDURES = 22;

/** How many files and users are told of. */
const TOLD_HITTERS_MAX = 5;

/** Running totals since the service started. Read them whenever you like. */
export interface TreeTotals {
  operations: number;
  readBytes: number;
  writtenBytes: number;
}

export interface ProcedureActivity {
  /** Its number: RFC 1813 chapter 3. */
  procedure: number;
  calls: number;
  /** Of those that were timed, with their weight. */
  latency: LatencyCounts;
}

/** What was done since the last time it was asked for. */
export interface TreeActivity extends TreeTotals {
  procedures: ProcedureActivity[];
  /** Answers other than NFS3_OK. */
  refusals: [status: NfsStatus, count: number][];
}

/** Over the last ten seconds or so, the heaviest first. Keys are file ids; those of `writers` user ids. */
export interface TreeHitters {
  /** Calls, whatever they asked; a directory's lookups are its own. */
  called: HeavyHitter[];
  /** Bytes. */
  read: HeavyHitter[];
  /** Bytes. */
  written: HeavyHitter[];
  /** Users, by the bytes they wrote. */
  writers: HeavyHitter[];
}

class ProcedureCounter {
  calls = 0;
  readonly latency = new LatencyHistogram();
}

export class TreeCounters implements TreeTotals {
  operations = 0;
  readBytes = 0;
  writtenBytes = 0;
  readonly #procedures = new Array<ProcedureCounter | undefined>(PROCEDURES).fill(undefined);
  readonly #refusals = new Map<NfsStatus, number>();
  readonly #called = new HeavyHitters();
  readonly #read = new HeavyHitters();
  readonly #written = new HeavyHitters();
  readonly #writers = new HeavyHitters();
  readonly #names = new SeenNames();
  #told: TreeTotals = { operations: 0, readBytes: 0, writtenBytes: 0 };
  readonly #onWork: () => void;

  /** `onWork` is called when the first call is counted since activity was taken. */
  constructor(onWork: () => void = () => {}) {
    this.#onWork = onWork;
  }

  /** A call was answered. `weight` is what `CallSampling` gave for it; with 0 `tookMs` says nothing. */
  answered(procedure: number, status: NfsStatus, fileId: number | undefined, weight: number, tookMs: number): void {
    if (this.operations === this.#told.operations) this.#onWork();
    this.operations++;
    const counter = this.#counterOf(procedure);
    counter.calls++;
    if (status !== "NFS3_OK") this.#refusals.set(status, (this.#refusals.get(status) ?? 0) + 1);
    if (weight === 0) return;
    counter.latency.add(tookMs, weight);
    if (fileId !== undefined) this.#called.add(fileId, weight);
  }

  #counterOf(procedure: number): ProcedureCounter {
    const counter = this.#procedures[procedure] ?? new ProcedureCounter();
    this.#procedures[procedure] = counter;
    return counter;
  }

  read(fileId: number, countBytes: number, weight: number): void {
    this.readBytes += countBytes;
    if (weight > 0) this.#read.add(fileId, countBytes * weight);
  }

  wrote(fileId: number, countBytes: number, uid: number): void {
    this.writtenBytes += countBytes;
    this.#written.add(fileId, countBytes);
    this.#writers.add(uid, countBytes);
  }

  sawName(fileId: number, directoryId: number, name: FileName): void {
    this.#names.saw(fileId, directoryId, name);
  }

  /** Where the file was lately found. */
  nameOf(fileId: number): SeenName | undefined {
    return this.#names.find(fileId);
  }

  /** What was done since the last call; `undefined` when nothing was. */
  takeActivity(): TreeActivity | undefined {
    const { operations, readBytes, writtenBytes } = this;
    const told = this.#told;
    if (operations === told.operations) return undefined;
    this.#told = { operations, readBytes, writtenBytes };
    const procedures: ProcedureActivity[] = [];
    this.#procedures.forEach((counter, procedure) => {
      if (counter === undefined || counter.calls === 0) return;
      procedures.push({ procedure, calls: counter.calls, latency: counter.latency.take() });
      counter.calls = 0;
    });
    const refusals = [...this.#refusals];
    this.#refusals.clear();
    return {
      operations: operations - told.operations,
      readBytes: readBytes - told.readBytes,
      writtenBytes: writtenBytes - told.writtenBytes,
      procedures,
      refusals,
    };
  }

  /** The busiest at the end of the last `passedMs`; to be called each time that has passed. */
  takeHitters(passedMs: number): TreeHitters {
    const take = (hitters: HeavyHitters) => hitters.take(passedMs, TOLD_HITTERS_MAX);
    return {
      called: take(this.#called),
      read: take(this.#read),
      written: take(this.#written),
      writers: take(this.#writers),
    };
  }
}

/**
 * Says of each call for how many its time counts: 0 when it need not be taken. Which ones looks random, as clients call in
 * patterns; one that is always timed would stand for those that never are.
 */
export class CallSampling {
  #state = 1;

  weightOf(changes: boolean): number {
    if (changes) return 1;
    // The generator of "Numerical Recipes"; its high bits are the better ones.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) | 0;
    return this.#state < TIMED_BELOW ? TIMED_ONE_IN : 0;
  }
}
