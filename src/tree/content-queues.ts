/**
 * The order of what is done to the contents of files: one after another on each file, files side by side. Writes
 * that wait and go on where the one before ends are taken together.
 */

/** A write that waits for its turn. `bytes` stay untouched until it is done. */
export interface PlacedWrite {
  bytes: Uint8Array;
  offset: number;
  /** The time it gives to the file. */
  timeNs: bigint;
}

interface QueuedWrite {
  write: PlacedWrite;
  resolve: () => void;
  reject: (error: unknown) => void;
}

type Job = QueuedWrite | { work: () => Promise<void> };

/** What is taken together at most: an upper bound for the time until the first of them is answered. */
const TOGETHER_BYTES_MAX = 8 * 1024 * 1024;
/** As many buffers as one system call takes are far more (IOV_MAX is 1024). */
const TOGETHER_COUNT_MAX = 64;

export class ContentQueues {
  readonly #queues = new Map<number, Job[]>();
  readonly #apply: (id: number, writes: readonly PlacedWrite[]) => Promise<void>;

  /** `apply` writes contiguous writes to a file, all or none of them. */
  constructor(apply: (id: number, writes: readonly PlacedWrite[]) => Promise<void>) {
    this.#apply = apply;
  }

  isBusy(id: number): boolean {
    return this.#queues.has(id);
  }

  write(id: number, write: PlacedWrite): Promise<void> {
    return new Promise((resolve, reject) => this.#add(id, { write, resolve, reject }));
  }

  /** Runs when everything before it on the file is done, and nothing after it has begun. */
  run<T>(id: number, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#add(id, { work: () => work().then(resolve, reject) });
    });
  }

  /** Resolves when what is queued now on any file is done. */
  async idle(): Promise<void> {
    await Promise.all(Array.from(this.#queues.keys(), (id) => this.run(id, async () => {})));
  }

  #add(id: number, job: Job): void {
    const queue = this.#queues.get(id);
    if (queue !== undefined) {
      queue.push(job);
      return;
    }
    const jobs = [job];
    this.#queues.set(id, jobs);
    void this.#work(id, jobs);
  }

  async #work(id: number, jobs: Job[]): Promise<void> {
    for (let job = jobs[0]; job !== undefined; job = jobs[0]) {
      if ("work" in job) {
        await job.work();
        jobs.shift();
      } else {
        const together = contiguousWrites(jobs);
        await this.#write(id, together);
        jobs.splice(0, together.length);
      }
    }
    this.#queues.delete(id);
  }

  async #write(id: number, queued: readonly QueuedWrite[]): Promise<void> {
    try {
      await this.#apply(
        id,
        queued.map(({ write }) => write),
      );
    } catch (error) {
      // Each is to hear of its own failure.
      if (queued.length > 1) for (const one of queued) await this.#write(id, [one]);
      else queued[0]!.reject(error);
      return;
    }
    for (const { resolve } of queued) resolve();
  }
}

function contiguousWrites(jobs: readonly Job[]): QueuedWrite[] {
  const together: QueuedWrite[] = [];
  let end: number | undefined;
  let countBytes = 0;
  for (const job of jobs) {
    if ("work" in job || (end !== undefined && job.write.offset !== end)) break;
    countBytes += job.write.bytes.length;
    if (together.length > 0 && (countBytes > TOGETHER_BYTES_MAX || together.length === TOGETHER_COUNT_MAX)) break;
    together.push(job);
    end = job.write.offset + job.write.bytes.length;
  }
  return together;
}
