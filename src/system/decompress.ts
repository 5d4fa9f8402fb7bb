/**
 * Fills a file with the disk image that a container holds. `xz` and `zstd` decompress several times faster than
 * anything in JavaScript and use all cores, so the system's are taken where they are, writing straight into the
 * output file; libraries stand in for them elsewhere.
 * Left out, where only the libraries are: checksums of zstd frames, and xz files of several streams (the first is
 * taken, and found to be too short for its partitions).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { pipeline as pipeFrom, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Decompress as ZstdDecoder } from "fzstd";
import xzDecompress from "xz-decompress"; // CommonJS: Node finds no named exports in it
import type { Container } from "./container.ts";
import { unzipImage } from "./decompress-zip.ts";
import { SparseFile } from "./sparse-file.ts";

const CHUNK_BYTES = 1024 * 1024;
const ERROR_TEXT_LENGTH_MAX = 2000;

export interface Decompression {
  container: Container;
  path: string;
  /** Open for writing, empty. */
  output: FileHandle;
  /** Gets every byte of the container once, in order: for its checksum and for progress. */
  onInput: (bytes: Uint8Array) => void;
  signal: AbortSignal;
  /** False: only the libraries that come with the program. */
  useSystemTools?: boolean;
}

/** Only tools that announce themselves so: busybox has an `xz` that knows neither threads nor holes. */
const SYSTEM_TOOLS = {
  xz: { command: "xz", args: ["-T0", "-dc"], announces: "XZ Utils" },
  zstd: { command: "zstd", args: ["-dc", "--sparse", "--quiet"], announces: "Zstandard" },
} as const;

type SystemTool = (typeof SYSTEM_TOOLS)[keyof typeof SYSTEM_TOOLS];

/** Rejects with the decoder's own words when the container is damaged, and with the system's error otherwise. */
export async function decompress(job: Decompression): Promise<void> {
  const { container, useSystemTools = true } = job;
  if ((container === "xz" || container === "zstd") && useSystemTools) {
    const tool = SYSTEM_TOOLS[container];
    if (await isInstalled(tool)) return runTool(tool, job);
  }
  const output = new SparseFile(job.output);
  for await (const chunk of DECODERS[container](job)) {
    job.signal.throwIfAborted();
    await output.write(chunk);
  }
  await output.finish();
}

const DECODERS: Record<Container, (job: Decompression) => AsyncIterable<Uint8Array>> = {
  raw: inputOf,
  gzip: (job) => {
    const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
    // Whoever reads `gunzip` is told of errors by it; this closes the container at any end.
    pipeFrom(inputOf(job), gunzip, () => {});
    return gunzip;
  },
  xz: decodeXz,
  zstd: decodeZstd,
  zip: unzipImage,
};

async function* inputOf({ path, onInput, signal }: Decompression): AsyncGenerator<Uint8Array> {
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES, signal })) {
    onInput(chunk);
    yield chunk;
  }
}

/** Results of xz-embedded (xz.h, `enum xz_ret`), which the library passes on as numbers. */
const XZ_FAILURES: Record<string, string> = {
  2: "the xz file has a checksum of a kind that only the xz tool knows; install xz-utils",
  3: "there is not enough memory to unpack the xz file",
  4: "the xz file needs more memory to unpack than is allowed; install xz-utils",
  5: "this is not an xz file",
  6: "the xz file was made with options that only the xz tool knows; install xz-utils",
  7: "the xz file is corrupt",
  8: "the xz file is truncated",
};

async function* decodeXz(job: Decompression): AsyncGenerator<Uint8Array> {
  const input = Readable.from(inputOf(job));
  try {
    const source = Readable.toWeb(input) as ReadableStream<Uint8Array>;
    for await (const chunk of new xzDecompress.XzReadableStream(source)) yield chunk;
  } catch (error) {
    const code = /error code (\d+)/.exec(error instanceof Error ? error.message : "")?.[1];
    const words = code === undefined ? undefined : XZ_FAILURES[code];
    throw words === undefined ? error : new Error(words, { cause: error });
  } finally {
    input.destroy();
  }
}

async function* decodeZstd(job: Decompression): AsyncGenerator<Uint8Array> {
  const decoded: Uint8Array[] = [];
  const decoder = new ZstdDecoder((bytes) => decoded.push(bytes));
  for await (const chunk of inputOf(job)) {
    decoder.push(chunk);
    yield* decoded.splice(0);
  }
  decoder.push(new Uint8Array(0), true);
  yield* decoded;
}

async function isInstalled({ command, announces }: SystemTool): Promise<boolean> {
  const child = spawn(command, ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (bytes) => {
    text += bytes;
  });
  try {
    await once(child, "close");
  } catch {
    return false;
  }
  return text.includes(announces);
}

async function runTool({ command, args }: SystemTool, job: Decompression): Promise<void> {
  const child = spawn(command, args, {
    stdio: ["pipe", job.output.fd, "pipe"],
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    signal: job.signal,
    killSignal: "SIGKILL",
  });
  const words = errorText(child);
  const closed = once(child, "close");
  // A tool that stops early breaks the pipe; its own words say more than EPIPE.
  const feeding = pipeline(Readable.from(inputOf(job)), child.stdin!).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  });
  const [[exitCode, killedBy]] = await Promise.all([closed, feeding]);
  if (exitCode !== 0) throw new Error(words() || `${command} was stopped by ${killedBy ?? `exit code ${exitCode}`}`);
}

function errorText(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (bytes) => {
    if (text.length < ERROR_TEXT_LENGTH_MAX) text += bytes;
  });
  return () => text.trim();
}
