/** The images that nodes boot from: imported once, opened once, and shared by everybody. */
import { existsSync } from "node:fs";
import { imageProblems, readImageFacts } from "../cluster/image-facts.ts";
import type { ImageReference } from "../cluster/manifest.ts";
import type { PlanImage } from "../cluster/plan.ts";
import { rememberFiles } from "../cluster/remembered-files.ts";
import { imageFiles } from "../disk/image-files.ts";
import type { OsImage } from "../disk/os-image.ts";
import type { StoredImage } from "./image-metadata.ts";
import { ImageStore, type ImportProgress } from "./image-store.ts";
import type { LoadedManifest } from "./manifest-file.ts";

export interface OpenedImage extends PlanImage {
  /** Names the contents. */
  contentSha256: string;
  /** Of the unpacked disk image. */
  path: string;
  disk: OsImage;
}

export class Images {
  readonly #store: ImageStore;
  readonly #opened = new Map<string, OpenedImage>();

  constructor(stateFolder: string) {
    this.#store = new ImageStore({ stateDir: stateFolder });
  }

  /**
   * Rejects with what is wrong when it cannot be found, read, or booted from. A relative path counts from
   * `resolvePath`'s folder.
   */
  async open(
    reference: ImageReference,
    resolvePath: (path: string) => string,
    onProgress: (progress: ImportProgress) => void,
  ): Promise<OpenedImage> {
    const path = resolvePath(reference.source);
    const stored = await this.#store.obtain(existsSync(path) ? path : reference.source, {
      onProgress,
      ...(reference.sha256 && { expectedSha256: reference.sha256 }),
    });
    const known = this.#opened.get(stored.contentSha256);
    if (known) return known;
    const opened = openBootable(stored, this.#store.open(stored));
    this.#opened.set(stored.contentSha256, opened);
    return opened;
  }

  /** Those that a manifest names, each once. */
  async *openAll(
    { manifest, resolvePath }: LoadedManifest,
    onProgress: (progress: ImportProgress) => void,
  ): AsyncGenerator<OpenedImage> {
    const references = [manifest.image, ...manifest.nodes.map((node) => node.image)].filter(
      (each) => each !== undefined,
    );
    const sources = new Map(references.map((reference) => [reference.source, reference]));
    for (const reference of sources.values()) yield await this.open(reference, resolvePath, onProgress);
  }

  close(): void {
    for (const { disk } of this.#opened.values()) disk.close();
    this.#opened.clear();
  }
}

/** Closes the disk when it cannot be booted from. */
function openBootable({ name, contentSha256, path }: StoredImage, disk: OsImage): OpenedImage {
  try {
    const boot = rememberFiles(imageFiles(disk.boot));
    const root = rememberFiles(imageFiles(disk.root));
    const facts = readImageFacts(boot, root);
    const problems = imageProblems(facts);
    if (problems.length > 0) throw new Error(`Cannot use image ${name}: ${problems.join("; ")}`);
    return { name, contentSha256, path, disk, facts, boot, root };
  } catch (error) {
    disk.close();
    throw error;
  }
}
