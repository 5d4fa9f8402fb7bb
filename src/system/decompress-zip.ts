/**
 * A zip with one disk image in it, as Raspberry Pi OS came in until 2022. Zip64 is read and the CRC-32 checked,
 * which yauzl leaves to its callers.
 */
import { createReadStream } from "node:fs";
import * as zlib from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { crc32 as crc32InJavaScript } from "../bytes/crc32.ts";
import { ZIP_ENTRIES_MAX } from "../limits.ts";

const CHUNK_BYTES = 1024 * 1024;

/** Native since Node 20.15, and ten times faster. */
const crc32: (bytes: Uint8Array, previous: number) => number = zlib.crc32 ?? crc32InJavaScript;

interface ZipInput {
  path: string;
  onInput: (bytes: Uint8Array) => void;
  signal: AbortSignal;
}

/** The image's bytes. Rejects when the zip holds none or several, is damaged or is encrypted. */
export async function* unzipImage({ path, onInput, signal }: ZipInput): AsyncGenerator<Uint8Array> {
  // A zip is read from its end, so its own checksum takes a pass of its own.
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES, signal })) onInput(chunk);
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false });
  try {
    const entry = await findImage(zip);
    let crc = 0;
    for await (const chunk of await zip.openReadStreamPromise(entry)) {
      crc = crc32(chunk, crc);
      yield chunk;
    }
    if (crc !== entry.crc32) throw new Error(`the checksum of ${entry.fileName} in the zip is wrong`);
  } finally {
    zip.close();
  }
}

async function findImage(zip: ZipFile): Promise<Entry> {
  if (zip.entryCount > ZIP_ENTRIES_MAX)
    throw new Error(`the zip holds ${zip.entryCount} files, so it is no disk image`);
  const images: Entry[] = [];
  for await (const entry of zip.eachEntry()) {
    if (entry.fileName.toLowerCase().endsWith(".img")) images.push(entry);
  }
  const [image, another] = images;
  if (image === undefined) throw new Error("the zip holds no .img file");
  if (another !== undefined) {
    throw new Error(`the zip holds several images (${image.fileName}, ${another.fileName}, …); unpack the one to use`);
  }
  if (image.isEncrypted()) throw new Error(`${image.fileName} in the zip is encrypted; unpack it first`);
  return image;
}
