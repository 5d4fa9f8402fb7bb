/**
 * Paths inside one file system of an image, as the node itself would see them: symlinks are followed within
 * the image (absolute targets start at its root), never out of it.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { type FileName, fileNameFromText, fileNameToText } from "../bytes/file-name.ts";
import { IMAGE_FILE_BYTES_MAX, SYMLINKS_FOLLOWED_MAX } from "../limits.ts";
import type { FileSystemImage } from "./file-system-image.ts";

/** Read access by path. Paths are absolute and in ordinary text. */
export interface ImageFileReader {
  /** `undefined` when it is not there or is not a plain file. Throws `DecodeError` when larger than `maxBytes`. */
  readFile(path: string, maxBytes?: number): Uint8Array | undefined;
  exists(path: string): boolean;
  isDirectory(path: string): boolean;
  /** Names in a directory; empty when it is not there. */
  list(path: string): string[];
  /** All of it: sizes of its plain files, each rounded up to whole pages, and how many files of any kind there are. */
  measure(pageBytes: number): { sizeBytes: number; inodes: number };
}

export function imageFiles(fs: FileSystemImage): ImageFileReader {
  const typeOf = (id: number | undefined) => (id === undefined ? undefined : fs.attributes(id)?.type);
  return {
    readFile(path, maxBytes = IMAGE_FILE_BYTES_MAX) {
      const id = resolvePath(fs, path);
      if (id === undefined) return undefined;
      const attributes = fs.attributes(id);
      if (attributes?.type !== "file") return undefined;
      if (attributes.sizeBytes > maxBytes) {
        throw new DecodeError(
          "image file",
          path,
          `it has ${attributes.sizeBytes} bytes, and at most ${maxBytes} were expected`,
        );
      }
      const content = new Uint8Array(attributes.sizeBytes);
      const readBytes = fs.readFileSync(id, content, 0);
      return content.subarray(0, readBytes);
    },
    exists: (path) => resolvePath(fs, path) !== undefined,
    isDirectory: (path) => typeOf(resolvePath(fs, path)) === "directory",
    list(path) {
      const id = resolvePath(fs, path);
      if (id === undefined || typeOf(id) !== "directory") return [];
      return fs.entries(id).map((entry) => fileNameToText(entry.name));
    },
    measure(pageBytes) {
      const total = { sizeBytes: 0, inodes: 0 };
      for (const id of fs.usedIds()) {
        const attributes = fs.attributes(id);
        total.inodes++;
        if (attributes?.type === "file") total.sizeBytes += Math.ceil(attributes.sizeBytes / pageBytes) * pageBytes;
      }
      return total;
    },
  };
}

/**
 * The id a path leads to, or `undefined` where the kernel would say ENOENT, ENOTDIR or ELOOP.
 * With `followLast: false` a symlink at the end is itself the answer, as for `lstat`.
 */
export function resolvePath(
  fs: FileSystemImage,
  path: string,
  options: { followLast?: boolean } = {},
): number | undefined {
  const followLast = options.followLast ?? true;
  const pending = componentsOf(fileNameFromText(path)).reverse();
  let directory = fs.rootId;
  let symlinksFollowed = 0;

  for (;;) {
    const name = pending.pop();
    if (name === undefined) return directory;
    if (fs.attributes(directory)?.type !== "directory") return undefined;
    if (name === "..") {
      directory = fs.parent(directory);
      continue;
    }
    const id = fs.lookup(directory, name);
    if (id === undefined) return undefined;
    const isLast = pending.length === 0;
    if ((isLast && !followLast) || fs.attributes(id)?.type !== "symlink") {
      directory = id;
      continue;
    }
    symlinksFollowed += 1;
    if (symlinksFollowed > SYMLINKS_FOLLOWED_MAX) return undefined;
    const target = fs.symlinkTarget(id);
    if (target.startsWith("/")) directory = fs.rootId;
    pending.push(...componentsOf(target).reverse());
  }
}

function componentsOf(path: FileName): FileName[] {
  return path.split("/").filter((name) => name !== "" && name !== ".") as FileName[];
}
