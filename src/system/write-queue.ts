/**
 * Writes on their way to the disk: one group at a time, and what arrives meanwhile shares the next one. What need not be
 * durable at once waits for what must, or for its time.
 */
import { LATE_COMMIT_BYTES_MAX } from "../limits.ts";
import type { Clock, Timer, WriteTiming } from "../ports.ts";
import type { Change } from "./pending-changes.ts";

/** Beside key and value: their lengths, as the journal writes them. */
export const CHANGE_HEAD_BYTES = 6;

interface QueuedWrite {
  changes: readonly Change[];
  sizeBytes: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

export interface WriteQueueOptions {
  clock: Pick<Clock, "monotonicMs" | "after">;
  /** A group ends before it would become larger; one write alone may be. */
  groupBytesMax: number;
  /** Resolves when a group is durable. */
  commit(changes: readonly Change[]): Promise<void>;
  /** These were shown, and will not be durable. */
  undo(changes: readonly Change[]): void;
}

export class WriteQueue {
  readonly #options: WriteQueueOptions;
  #queue: QueuedWrite[] = [];
  #queuedBytes = 0;
  /** Something in the queue may not wait. */
  #isUrgent = false;
  #timer: Timer | undefined;
  #dueMs = 0;
  #committing: Promise<void> | undefined;

  constructor(options: WriteQueueOptions) {
    this.#options = options;
  }

  /** Resolves when the changes are durable; rejects with everything of this and later unfinished writes undone. */
  add(changes: readonly Change[], timing?: WriteTiming): Promise<void> {
    const sizeBytes = sizeOf(changes);
    this.#queuedBytes += sizeBytes;
    return new Promise((resolve, reject) => {
      this.#queue.push({ changes, sizeBytes, resolve, reject });
      if (timing === undefined || this.#queuedBytes > LATE_COMMIT_BYTES_MAX) this.#isUrgent = true;
      if (this.#isUrgent) this.#committing ??= this.#commitAll();
      else this.#commitWithin(timing!.withinMs);
    });
  }

  /** Unless something that may not wait takes the queue with it before. */
  #commitWithin(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.monotonicMs() + delayMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#isUrgent = this.#queue.length > 0;
      if (this.#isUrgent) this.#committing ??= this.#commitAll();
    });
  }

  /** Commits what is queued, then what was queued meanwhile, until nothing is left. */
  async #commitAll(): Promise<void> {
    // Whatever else is called in this turn shares the first group.
    await Promise.resolve();
    while (this.#isUrgent) {
      const group = this.#nextGroup();
      try {
        const changes = group.flatMap((write) => write.changes);
        if (changes.length > 0) await this.#options.commit(changes);
      } catch (error) {
        this.#fail(group, error as Error);
        continue;
      }
      for (const write of group) write.resolve();
    }
    this.#committing = undefined;
  }

  #nextGroup(): QueuedWrite[] {
    let [count, sizeBytes] = [0, 0];
    for (const write of this.#queue) {
      if (count > 0 && sizeBytes + write.sizeBytes > this.#options.groupBytesMax) break;
      count += 1;
      sizeBytes += write.sizeBytes;
    }
    const group = this.#queue.splice(0, count);
    this.#queuedBytes -= sizeBytes;
    if (this.#queue.length === 0) {
      this.#isUrgent = false;
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    return group;
  }

  #fail(group: readonly QueuedWrite[], error: Error): void {
    const failed = [...group, ...this.#queue];
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#isUrgent = false;
    this.#options.undo(failed.flatMap((write) => write.changes));
    for (const write of failed) write.reject(error);
  }
}

export function sizeOf(changes: readonly Change[]): number {
  return changes.reduce((sum, { key, value }) => sum + CHANGE_HEAD_BYTES + key.length + (value?.length ?? 0), 0);
}
