/**
 * The image store's folders on disk:
 *
 *     <SHA-256 of the disk image>/disk.img         sparse, never changed
 *     <SHA-256 of the disk image>/metadata.json
 *     .work-<pid>-…/                               imports and removals under way
 *     .download-…/                                 downloads that can be resumed (image-download.ts)
 *
 * An image's folder appears by one rename after everything in it is on disk, so what is there is complete.
 */
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { syncFolder } from "../system/sync-folder.ts";
import { type ImageMetadata, imageMetadata, type StoredImage } from "./image-metadata.ts";

export const DISK_FILE = "disk.img";
const METADATA_FILE = "metadata.json";
const WORK_PREFIX = ".work-";

export class ImageFolders {
  readonly root: string;
  /** Work folders of this process; others with its pid are from before it was restarted in a container. */
  readonly #ownWork = new Set<string>();

  constructor(root: string) {
    this.root = root;
  }

  /** Oldest first. What is not a whole image is passed over. */
  async list(): Promise<StoredImage[]> {
    const names = await readdir(this.root).catch(() => []);
    const images = await Promise.all(names.filter((name) => !name.startsWith(".")).map((name) => this.#read(name)));
    return images
      .filter((image) => image !== undefined)
      .sort((a, b) => a.importedAt.localeCompare(b.importedAt) || a.name.localeCompare(b.name));
  }

  /** An empty folder to work in, until `commit` or `endWork`. */
  async beginWork(): Promise<string> {
    await mkdir(this.root, { recursive: true });
    const folder = await mkdtemp(join(this.root, `${WORK_PREFIX}${process.pid}-`));
    this.#ownWork.add(folder);
    return folder;
  }

  async endWork(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
    this.#ownWork.delete(folder);
  }

  /** Makes a work folder with a finished `disk.img` an image. If it is here already, that one stays. */
  async commit(work: string, metadata: ImageMetadata): Promise<StoredImage> {
    await writeDurably(join(work, METADATA_FILE), metadata);
    await syncFolder(work);
    const folder = join(this.root, metadata.contentSha256);
    if ((await this.#read(metadata.contentSha256)) === undefined) {
      await rm(folder, { recursive: true, force: true });
      await rename(work, folder);
    }
    await syncFolder(this.root);
    return { ...metadata, path: join(folder, DISK_FILE) };
  }

  async updateMetadata({ path: _path, ...metadata }: StoredImage): Promise<void> {
    const work = await this.beginWork();
    try {
      const file = join(work, METADATA_FILE);
      await writeDurably(file, metadata);
      await rename(file, join(this.root, metadata.contentSha256, METADATA_FILE));
    } finally {
      await this.endWork(work);
    }
  }

  /** Gone at once for everyone else, however long it takes to free the space. */
  async remove(image: StoredImage): Promise<void> {
    const work = await this.beginWork();
    try {
      await rename(join(this.root, image.contentSha256), join(work, image.contentSha256));
    } finally {
      await this.endWork(work);
    }
  }

  /** Removes the work folders of processes that were killed. */
  async removeLeftovers(): Promise<void> {
    const names = await readdir(this.root).catch(() => []);
    for (const name of names.filter((candidate) => candidate.startsWith(WORK_PREFIX))) {
      const folder = join(this.root, name);
      const pid = Number.parseInt(name.slice(WORK_PREFIX.length), 10);
      const isInUse = pid === process.pid ? this.#ownWork.has(folder) : isAlive(pid);
      if (!isInUse) await rm(folder, { recursive: true, force: true });
    }
  }

  async #read(name: string): Promise<StoredImage | undefined> {
    try {
      const metadata = imageMetadata.parse(JSON.parse(await readFile(join(this.root, name, METADATA_FILE), "utf8")));
      return metadata.contentSha256 === name ? { ...metadata, path: join(this.root, name, DISK_FILE) } : undefined;
    } catch {
      return undefined;
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function writeDurably(path: string, value: unknown): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}
