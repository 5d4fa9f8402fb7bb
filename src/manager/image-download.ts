/**
 * Downloads of image files that survive a broken connection and a killed manager: what has arrived stays in
 * `.download-<hash of the URL>/`, and the rest is asked for with `Range` and `If-Range` (RFC 9110, sections 13.1.5
 * and 14), which gives the whole file again if the server's has changed.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";

const ATTEMPTS_MAX = 6;
const PART_FILE = "part";
const STATE_FILE = "state.json";

/** What the server said about the file; kept beside the part so that it is known which file it is a part of. */
const partState = z.object({
  url: z.string(),
  /** A strong ETag, or the date of the last change. */
  validator: z.string().exactOptional(),
  totalBytes: z.number().exactOptional(),
});
type PartState = z.infer<typeof partState>;

export interface DownloadOptions {
  folder: string;
  retryDelayMs: number;
  signal: AbortSignal;
  onProgress: (doneBytes: number, totalBytes: number | undefined) => void;
}

export interface Download {
  path: string;
  sizeBytes: number;
  /** When it is no longer needed. */
  discard(): Promise<void>;
}

/** A refusal that asking again does not change. */
class ServerRefusal extends Error {}

/** Rejects when the server refuses, or when the connection broke off time after time without any progress. */
export async function downloadImage(url: string, options: DownloadOptions): Promise<Download> {
  const key = createHash("sha256").update(url).digest("hex").slice(0, 16);
  const folder = join(options.folder, `.download-${key}`);
  await mkdir(folder, { recursive: true });
  const path = join(folder, PART_FILE);
  const discard = () => rm(folder, { recursive: true, force: true });

  let attempts = 0;
  for (;;) {
    const before = await sizeOf(path);
    try {
      await continueDownload(url, folder, options);
      return { path, sizeBytes: await sizeOf(path), discard };
    } catch (error) {
      options.signal.throwIfAborted();
      if (error instanceof ServerRefusal) {
        await discard();
        throw error;
      }
      if (isDiskError(error)) throw error;
      attempts = (await sizeOf(path)) > before ? 1 : attempts + 1;
      if (attempts === ATTEMPTS_MAX) {
        throw new Error(`the download failed ${attempts} times, at last because ${reasonOf(error)}; try again later`, {
          cause: error,
        });
      }
    }
    await delay(options.retryDelayMs * attempts, undefined, { signal: options.signal });
  }
}

async function continueDownload(url: string, folder: string, { signal, onProgress }: DownloadOptions): Promise<void> {
  const path = join(folder, PART_FILE);
  const state = await readState(folder, url);
  const haveBytes = state === undefined ? 0 : await sizeOf(path);
  if (state?.totalBytes !== undefined && haveBytes === state.totalBytes) return;
  const response = await request(url, state, haveBytes, signal);
  const isRest = response.status === 206 && haveBytes > 0;
  if (
    response.status === 416 ||
    (isRest && !response.headers.get("content-range")?.startsWith(`bytes ${haveBytes}-`))
  ) {
    await response.body?.cancel();
    await rm(path, { force: true });
    throw new Error(`the server does not have what follows byte ${haveBytes}`);
  }
  const startByte = isRest ? haveBytes : 0;
  const length = response.headers.get("content-length");
  const totalBytes = length === null ? undefined : startByte + Number(length);
  if (!isRest) {
    await rm(path, { force: true });
    await writeState(folder, url, response, totalBytes);
  }

  const file = await open(path, isRest ? "r+" : "w");
  let position = startByte;
  try {
    for await (const chunk of response.body ?? []) {
      await writeAll(file, chunk, position);
      position += chunk.length;
      onProgress(position, totalBytes);
    }
  } finally {
    await file.close();
  }
  if (totalBytes !== undefined && position < totalBytes) {
    throw new Error(`only ${position} of ${totalBytes} bytes arrived`);
  }
}

/** A disk that gets full takes part of it first, and refuses only the next. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

/** Answers the ones that can be used: all that is well, and the refusal of a range. */
async function request(
  url: string,
  state: PartState | undefined,
  haveBytes: number,
  signal: AbortSignal,
): Promise<Response> {
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (state?.validator !== undefined && haveBytes > 0) {
    headers.range = `bytes=${haveBytes}-`;
    headers["if-range"] = state.validator;
  }
  const response = await fetch(url, { headers, signal });
  if (response.ok || (response.status === 416 && headers.range !== undefined)) return response;
  await response.body?.cancel();
  const why = `the server answered ${response.status} ${response.statusText}`.trimEnd();
  const mayPass = response.status >= 500 || response.status === 429;
  throw mayPass ? new Error(why) : new ServerRefusal(`${why}; check the address`);
}

async function readState(folder: string, url: string): Promise<PartState | undefined> {
  try {
    const state = partState.parse(JSON.parse(await readFile(join(folder, STATE_FILE), "utf8")));
    return state.url === url ? state : undefined;
  } catch {
    return undefined;
  }
}

/** A weak validator does not promise equal bytes, so with only that the download starts again instead. */
async function writeState(folder: string, url: string, response: Response, totalBytes?: number): Promise<void> {
  const etag = response.headers.get("etag");
  const validator = etag?.startsWith('"') ? etag : (response.headers.get("last-modified") ?? undefined);
  const state: PartState = {
    url,
    ...(validator !== undefined && { validator }),
    ...(totalBytes !== undefined && { totalBytes }),
  };
  await writeFile(join(folder, STATE_FILE), JSON.stringify(state));
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

function isDiskError(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** `fetch` says only "fetch failed"; the reason is the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
