import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { IMAGE_BYTES_MAX } from "../limits.ts";

const CHUNK_BYTES = 1024 * 1024;
const POLL_MS = 5;
const SYNC_EVERY_BYTES = 128 * CHUNK_BYTES;

/**
 * SHA-256 of a file that another writer (a child process, say) fills from start to end meanwhile: the bytes are
 * hashed while they are still in memory, and the writer never waits.
 * Resolves with the hash in hex once `isComplete()` and everything is read; the file is then on disk as well.
 */
export async function hashGrowingFile(
  file: FileHandle,
  { isComplete, signal }: { isComplete: () => boolean; signal: AbortSignal },
): Promise<string> {
  const hash = createHash("sha256");
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  const disk = new BackgroundSync(file);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const wasComplete = isComplete();
    const sizeBytes = (await file.stat()).size;
    if (sizeBytes > IMAGE_BYTES_MAX) throw new Error(`it has more than ${IMAGE_BYTES_MAX} bytes, which no SD card has`);
    const enoughBytes = wasComplete ? 1 : CHUNK_BYTES;
    while (sizeBytes - position >= enoughBytes) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, position);
      hash.update(chunk.subarray(0, bytesRead));
      position += bytesRead;
    }
    disk.advance(position);
    if (wasComplete) break;
    await delay(POLL_MS, undefined, { signal });
  }
  await disk.finish();
  return hash.digest("hex");
}

/** Starts writing to the disk while there is still something to come, so that the last fsync has little left. */
class BackgroundSync {
  readonly #file: FileHandle;
  #startedBytes = 0;
  #running: Promise<void> | undefined;
  #error: unknown;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  advance(position: number): void {
    if (this.#running !== undefined || position - this.#startedBytes < SYNC_EVERY_BYTES) return;
    this.#startedBytes = position;
    this.#running = this.#file
      .datasync()
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async finish(): Promise<void> {
    await this.#running;
    if (this.#error !== undefined) throw this.#error;
    await this.#file.sync();
  }
}

/** SHA-256 of a whole file, in hex. */
export async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES, signal })) hash.update(chunk);
  return hash.digest("hex");
}
