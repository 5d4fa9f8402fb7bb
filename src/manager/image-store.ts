/**
 * OS images on the manager's disk, each unpacked once and shared by all nodes (layout: image-folders.ts).
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DecodeError } from "../bytes/decode-error.ts";
import { type OsImage, openOsImage } from "../disk/os-image.ts";
import { hashFile } from "../system/file-hash.ts";
import { openFileSource } from "../system/file-source.ts";
import { downloadImage } from "./image-download.ts";
import { ImageError, importError } from "./image-error.ts";
import { DISK_FILE, ImageFolders } from "./image-folders.ts";
import { defaultName, fileOrigin, type ImageOrigin, isSameOrigin, type StoredImage } from "./image-metadata.ts";
import { unpackImage } from "./image-unpack.ts";

export type { StoredImage } from "./image-metadata.ts";

const HASH_PREFIX_LENGTH_MIN = 6;
/** A path that is rewritten daily must not make the list grow for ever. */
const ORIGINS_MAX = 16;

export interface ImportProgress {
  phase: "download" | "unpack";
  /** Of the file as published; when unpacking: those that are unpacked. */
  doneBytes: number;
  /** Absent when the server does not tell. */
  totalBytes?: number;
}

export interface ImportOptions {
  onProgress?: (progress: ImportProgress) => void;
  signal?: AbortSignal;
  /** Of the file as published, or of the disk image in it. */
  expectedSha256?: string;
  /** Instead of the file's own name. */
  name?: string;
  /** Ask the server again for a URL that was imported before. */
  refresh?: boolean;
}

export interface ImageStoreOptions {
  /** Images are kept in `images` below it. */
  stateDir: string;
  unixMs?: () => number;
  /** False: do without the system's `xz` and `zstd`. */
  useSystemTools?: boolean;
  /** Before going on with a download that broke off. */
  retryDelayMs?: number;
}

/** Everything an import needs to know about the file it reads. */
interface Candidate {
  source: string;
  path: string;
  sizeBytes: number;
  origin: ImageOrigin;
}

export class ImageStore {
  readonly #folders: ImageFolders;
  readonly #unixMs: () => number;
  readonly #useSystemTools: boolean;
  readonly #retryDelayMs: number;
  /** By source: a second import of the same joins the first. */
  readonly #underWay = new Map<string, Promise<StoredImage>>();

  constructor({ stateDir, unixMs = Date.now, useSystemTools = true, retryDelayMs = 1000 }: ImageStoreOptions) {
    this.#folders = new ImageFolders(join(resolve(stateDir), "images"));
    this.#unixMs = unixMs;
    this.#useSystemTools = useSystemTools;
    this.#retryDelayMs = retryDelayMs;
  }

  /**
   * Takes an image in from a local path or an `http(s)` URL; at once when it is here already.
   * Rejects with `ImageError`, and with an `AbortError` when `signal` says so; nothing half-done is ever listed.
   */
  import(source: string, options: ImportOptions = {}): Promise<StoredImage> {
    const running = this.#underWay.get(source);
    if (running !== undefined) return running.then((image) => checkHash(source, image, options));
    const work = this.#import(source, options)
      .catch((error: unknown) => {
        throw importError(source, error, this.#folders.root);
      })
      .finally(() => this.#underWay.delete(source));
    this.#underWay.set(source, work);
    return work;
  }

  /** A path or a URL is imported; anything else is the name or hash of an image that is here. */
  async obtain(reference: string, options: ImportOptions = {}): Promise<StoredImage> {
    if (isUrl(reference) || existsSync(reference)) return this.import(reference, options);
    const image = await this.find(reference);
    if (image !== undefined) return checkHash(reference, image, options);
    throw new ImageError(
      `Cannot find image ${reference}: there is no such file, and no image of that name was imported; ` +
        '"bramble image list" shows those that were',
    );
  }

  /** Oldest first. */
  list(): Promise<StoredImage[]> {
    return this.#folders.list();
  }

  /** By name (the newest of that name), or by the first six or more digits of either hash. */
  async find(nameOrHash: string): Promise<StoredImage | undefined> {
    const images = await this.list();
    const byName = images.findLast((image) => image.name === nameOrHash);
    if (byName !== undefined || nameOrHash.length < HASH_PREFIX_LENGTH_MIN) return byName;
    const digits = nameOrHash.toLowerCase();
    return images.findLast(
      (image) => image.contentSha256.startsWith(digits) || image.containerSha256.startsWith(digits),
    );
  }

  /** The caller has made sure that no node uses it. */
  async remove(nameOrHash: string): Promise<StoredImage> {
    const image = await this.find(nameOrHash);
    if (image === undefined) throw new ImageError(`Cannot remove image ${nameOrHash}: there is no such image`);
    await this.#folders.remove(image);
    return image;
  }

  /** Throws `DecodeError` when it is damaged. */
  open(image: StoredImage): OsImage {
    return openImageFile(image.path);
  }

  async #import(source: string, options: ImportOptions): Promise<StoredImage> {
    await this.#folders.removeLeftovers();
    const image = isUrl(source) ? await this.#importUrl(source, options) : await this.#importPath(source, options);
    return checkHash(source, image, options);
  }

  async #importPath(source: string, options: ImportOptions): Promise<StoredImage> {
    const path = resolve(source);
    const found = await stat(path);
    if (!found.isFile()) throw new Error("it is not a plain file");
    if (found.size === 0) throw new Error("the file is empty");
    const origin = fileOrigin(path, found);
    return this.#take({ source, path, sizeBytes: found.size, origin }, options);
  }

  /**
   * A URL stands for what it gave before, so that a cluster does not change because a server did: unless there is a
   * checksum, and it is another's.
   */
  async #importUrl(source: string, options: ImportOptions): Promise<StoredImage> {
    const images = options.refresh === true ? [] : await this.list();
    const known = images.filter(({ origins }) => origins.some((one) => one.kind === "url" && one.url === source));
    for (const image of known.reverse()) if ((await wrongHash(image, options)) === undefined) return image;
    const download = await downloadImage(source, {
      folder: this.#folders.root,
      retryDelayMs: this.#retryDelayMs,
      signal: options.signal ?? new AbortController().signal,
      onProgress: (doneBytes, totalBytes) =>
        options.onProgress?.({ phase: "download", doneBytes, ...(totalBytes !== undefined && { totalBytes }) }),
    });
    const origin: ImageOrigin = { kind: "url", url: source };
    try {
      return await this.#take({ source, path: download.path, sizeBytes: download.sizeBytes, origin }, options);
    } finally {
      // Kept only if the user stopped it: whatever else went wrong with these bytes will do so again.
      if (options.signal?.aborted !== true) await download.discard();
    }
  }

  /** The image this file holds: one that is here, or else unpacked now. */
  async #take(candidate: Candidate, options: ImportOptions): Promise<StoredImage> {
    const images = await this.list();
    const known = images.findLast(({ origins }) => origins.some((one) => isSameOrigin(one, candidate.origin)));
    if (known !== undefined && candidate.origin.kind === "file") return known;
    const signal = options.signal ?? new AbortController().signal;
    // Only a file as long as one that is here is worth reading twice.
    if (images.some((image) => image.containerBytes === candidate.sizeBytes)) {
      const containerSha256 = await hashFile(candidate.path, signal);
      const twin = images.findLast((image) => image.containerSha256 === containerSha256);
      if (twin !== undefined) return this.#addOrigin(twin, candidate.origin);
    }
    return this.#unpack(candidate, options, signal);
  }

  async #addOrigin(image: StoredImage, origin: ImageOrigin): Promise<StoredImage> {
    const others = image.origins.filter((one) => !isSameOrigin(one, origin));
    const updated = { ...image, origins: [...others, origin].slice(-ORIGINS_MAX) };
    await this.#folders.updateMetadata(updated);
    return updated;
  }

  async #unpack(candidate: Candidate, options: ImportOptions, signal: AbortSignal): Promise<StoredImage> {
    const { source, path, sizeBytes: containerBytes, origin } = candidate;
    const work = await this.#folders.beginWork();
    try {
      const disk = join(work, DISK_FILE);
      const unpacked = await unpackImage(path, disk, {
        signal,
        useSystemTools: this.#useSystemTools,
        onProgress: (doneBytes) => options.onProgress?.({ phase: "unpack", doneBytes, totalBytes: containerBytes }),
      });
      if (origin.kind === "file" && !isSameOrigin(origin, fileOrigin(path, await stat(path)))) {
        throw new Error("the file changed while it was read; try again when it is complete");
      }
      await checkHash(source, { ...unpacked, path: disk }, options);
      checkImage(disk);
      const { contentSha256, containerSha256, sizeBytes } = unpacked;
      return await this.#folders.commit(work, {
        name: options.name ?? defaultName(source),
        contentSha256,
        containerSha256,
        containerBytes,
        sizeBytes,
        importedAt: new Date(this.#unixMs()).toISOString(),
        source,
        origins: [origin],
      });
    } finally {
      await this.#folders.endWork(work);
    }
  }
}

function isUrl(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

function openImageFile(path: string): OsImage {
  const source = openFileSource(path);
  try {
    return openOsImage(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Opens it once, so that nothing is stored that cannot be booted from. */
function checkImage(path: string): void {
  try {
    openImageFile(path).close();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new Error(`it is no OS image for the Raspberry Pi: ${error.why} (${error.format}, ${error.where})`, {
      cause: error,
    });
  }
}

interface Hashed {
  containerSha256: string;
  path: string;
}

/**
 * The publisher's checksum is that of the file, or else of the disk image in it; only then is that one worth its time.
 * `undefined` when it is right, or none is expected.
 */
async function wrongHash(
  image: Hashed,
  { expectedSha256, signal = new AbortController().signal }: ImportOptions,
): Promise<string | undefined> {
  const expected = expectedSha256?.toLowerCase();
  if (expected === undefined || expected === image.containerSha256) return undefined;
  const unpackedSha256 = await hashFile(image.path, signal);
  if (expected === unpackedSha256) return undefined;
  return `its SHA-256 is ${image.containerSha256} (unpacked: ${unpackedSha256}) instead of ${expected}`;
}

async function checkHash<Image extends Hashed>(source: string, image: Image, options: ImportOptions): Promise<Image> {
  const why = await wrongHash(image, options);
  if (why === undefined) return image;
  throw new ImageError(`Cannot import ${source}: ${why}; download it again, and compare with the publisher's page`);
}
