import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { IMAGE_BYTES_MAX } from "../limits.ts";
import { nextData } from "./file-holes.ts";

const POLL_MS = 5;
const SYNC_EVERY_BYTES = 64 * 1024 * 1024;
const STREAM_CHUNK_BYTES = 1024 * 1024;

const BLOCK_BYTES = 4096;
const CHUNK_BLOCKS = 64;
const CHUNK_BYTES = CHUNK_BLOCKS * BLOCK_BYTES;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** SHA-256 of a whole file, in hex, as `sha256sum` prints it. */
export async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: STREAM_CHUNK_BYTES, signal })) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * Names the contents of a disk image, most of which is zeros: SHA-256 over, for each 256 KiB of the file that are
 * not all zero, their offset (64 bits, little-endian), a bit for each 4 KiB block that is not zero (64 bits,
 * little-endian, lowest first) and those blocks; and at the end the file's size (64 bits, little-endian). Equal for
 * equal contents, whichever holes the file has. This is half the work of hashing the zeros too, on the cores that
 * decompression needs.
 *
 * Another writer, such as a child process, may fill the file from start to end meanwhile; it never waits for us, and
 * what it has written is hashed while it is still in memory. Resolves with the hash in hex once `isComplete()` and
 * everything is read; the file is then on disk as well (fsync).
 */
export async function hashGrowingImage(
  path: string,
  { isComplete, signal }: { isComplete: () => boolean; signal: AbortSignal },
): Promise<string> {
  // Not the writer's descriptor: looking for data moves the position where a child process writes.
  const file = await open(path, "r");
  try {
    const hash = new DataHash(file);
    const disk = new BackgroundSync(file);
    for (;;) {
      signal.throwIfAborted();
      const wasComplete = isComplete();
      const sizeBytes = (await file.stat()).size;
      if (sizeBytes > IMAGE_BYTES_MAX) throw new Error(`it unpacks to more than ${IMAGE_BYTES_MAX} bytes`);
      await hash.advance(wasComplete ? sizeBytes : sizeBytes - (sizeBytes % CHUNK_BYTES), signal);
      disk.advance(hash.position);
      if (wasComplete) break;
      await delay(POLL_MS, undefined, { signal });
    }
    await disk.finish();
    return hash.digest();
  } finally {
    await file.close();
  }
}

/** Hashes what is not zero, chunk by chunk. */
class DataHash {
  readonly #file: FileHandle;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  #position = 0;
  /** Looking for data waits for the writer, so it is done only where a hole has begun. */
  #mayBeHole = true;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  get position(): number {
    return this.#position;
  }

  /** Goes on up to `to`, the end of a chunk or of the file. */
  async advance(to: number, signal: AbortSignal): Promise<void> {
    while (this.#position < to) {
      signal.throwIfAborted();
      const data = this.#mayBeHole ? nextData(this.#file.fd, this.#position, to) : this.#position;
      if (data >= to) break;
      const start = data - (data % CHUNK_BYTES);
      const { bytesRead } = await this.#file.read(this.#buffer, 0, Math.min(CHUNK_BYTES, to - start), start);
      this.#mayBeHole = this.#update(start, this.#buffer.subarray(0, bytesRead));
      this.#position = start + bytesRead;
    }
    this.#position = to;
  }

  digest(): string {
    return this.#hash.update(u64(BigInt(this.#position))).digest("hex");
  }

  /** Returns whether the chunk ended in zeros. */
  #update(offset: number, chunk: Buffer): boolean {
    let present = 0n;
    /** Where runs of blocks that are not zero begin and end. */
    const edges: number[] = [];
    for (let block = 0; block * BLOCK_BYTES < chunk.length; block += 1) {
      const start = block * BLOCK_BYTES;
      const end = Math.min(start + BLOCK_BYTES, chunk.length);
      if (ZERO_BLOCK.compare(chunk, start, end, 0, end - start) === 0) continue;
      present |= 1n << BigInt(block);
      if (edges.at(-1) === start) edges.pop();
      else edges.push(start);
      edges.push(end);
    }
    if (present !== 0n) this.#hash.update(u64(BigInt(offset))).update(u64(present));
    for (let edge = 0; edge < edges.length; edge += 2) this.#hash.update(chunk.subarray(edges[edge], edges[edge + 1]));
    return edges.at(-1) !== chunk.length;
  }
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
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
