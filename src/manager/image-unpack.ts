/** One pass from a container to a sparse disk image on disk, both checksums included. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, open } from "node:fs/promises";
import { CONTAINER_MAGIC_BYTES, type Container, containerOf } from "../system/container.ts";
import { decompress } from "../system/decompress.ts";
import { hashFile, hashGrowingImage } from "../system/file-hash.ts";

export interface Unpacked {
  /** Of the data in the image (system/file-hash.ts). */
  contentSha256: string;
  /** Of the file it came in. */
  containerSha256: string;
  container: Container;
  sizeBytes: number;
}

export interface UnpackOptions {
  signal: AbortSignal;
  /** Bytes of the container that are done. */
  onProgress: (doneBytes: number) => void;
  useSystemTools: boolean;
}

/** Makes `targetPath`, which must not exist. It is on disk (fsync) when this resolves; partial when it rejects. */
export async function unpackImage(sourcePath: string, targetPath: string, options: UnpackOptions): Promise<Unpacked> {
  const container = containerOf(await firstBytes(sourcePath));
  const isCloned = container === "raw" && (await tryClone(sourcePath, targetPath));
  const output = await open(targetPath, isCloned ? "r+" : "wx+");
  try {
    return await fillAndHash(sourcePath, targetPath, output, container, isCloned, options);
  } finally {
    await output.close();
  }
}

async function fillAndHash(
  sourcePath: string,
  targetPath: string,
  output: FileHandle,
  container: Container,
  isCloned: boolean,
  { signal, onProgress, useSystemTools }: UnpackOptions,
): Promise<Unpacked> {
  const containerHash = createHash("sha256");
  let doneBytes = 0;
  const onInput = (bytes: Uint8Array): void => {
    doneBytes += bytes.length;
    containerHash.update(bytes);
    onProgress(doneBytes);
  };
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  let isComplete = isCloned;
  const filling = isCloned
    ? Promise.resolve()
    : decompress({ container, path: sourcePath, output, onInput, signal: either, useSystemTools }).then(() => {
        isComplete = true;
      });
  const hashing = hashGrowingImage(targetPath, { isComplete: () => isComplete, signal: either });
  try {
    const [, contentSha256] = await Promise.all([filling, hashing]);
    const containerSha256 = isCloned ? await hashFile(targetPath, signal) : containerHash.digest("hex");
    return { contentSha256, containerSha256, container, sizeBytes: (await output.stat()).size };
  } finally {
    // Whichever failed first, the other must have let go of the file before it is closed.
    stop.abort();
    await Promise.allSettled([filling, hashing]);
  }
}

/** A reflink shares the blocks: instant, and no space used. Only some file systems can (btrfs, xfs). */
async function tryClone(sourcePath: string, targetPath: string): Promise<boolean> {
  try {
    await copyFile(sourcePath, targetPath, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return true;
  } catch {
    return false;
  }
}

async function firstBytes(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(CONTAINER_MAGIC_BYTES), 0, CONTAINER_MAGIC_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
