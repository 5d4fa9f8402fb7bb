import { createHash, type Hash } from "node:crypto";
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
    const hash = createHash("sha256");
    const disk = new BackgroundSync(file);
    let position = 0;
    for (;;) {
      signal.throwIfAborted();
      const wasComplete = isComplete();
      const sizeBytes = (await file.stat()).size;
      if (sizeBytes > IMAGE_BYTES_MAX) throw new Error(`it unpacks to more than ${IMAGE_BYTES_MAX} bytes`);
      const stableBytes = wasComplete ? sizeBytes : sizeBytes - (sizeBytes % CHUNK_BYTES);
      position = await hashData(file, hash, position, stableBytes, signal);
      disk.advance(position);
      if (wasComplete) break;
      await delay(POLL_MS, undefined, { signal });
    }
    await disk.finish();
    return hash.update(u64(BigInt(position))).digest("hex");
  } finally {
    await file.close();
  }
}

/** Hashes what is not zero between two positions; `from` lies at the start of a chunk. Returns `to`. */
async function hashData(file: FileHandle, hash: Hash, from: number, to: number, signal: AbortSignal): Promise<number> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let position = from; position < to; position += CHUNK_BYTES) {
    signal.throwIfAborted();
    const data = nextData(file.fd, position, to);
    if (data >= to) break;
    position = data - (data % CHUNK_BYTES);
    const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK_BYTES, to - position), position);
    hashChunk(hash, position, buffer.subarray(0, bytesRead));
  }
  return to;
}

function hashChunk(hash: Hash, offset: number, chunk: Buffer): void {
  let present = 0n;
  const blocks: Buffer[] = [];
  for (let block = 0; block * BLOCK_BYTES < chunk.length; block += 1) {
    const bytes = chunk.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    if (ZERO_BLOCK.compare(bytes, 0, bytes.length, 0, bytes.length) === 0) continue;
    present |= 1n << BigInt(block);
    blocks.push(bytes);
  }
  if (present === 0n) return;
  hash.update(u64(BigInt(offset))).update(u64(present));
  if (blocks.length === CHUNK_BLOCKS) hash.update(chunk);
  else for (const bytes of blocks) hash.update(bytes);
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
