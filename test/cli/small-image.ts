/** A bootable-looking OS image of 13 MiB, made in a moment from the lists of files that the plan's tests use. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeOsImage, OS_IMAGE_COMMANDS } from "../images/os-image-file.ts";
import type { MemoryFiles } from "../memory-files.ts";
import { BUSYBOX } from "../plan-images.ts";

export const SMALL_IMAGE_COMMANDS = OS_IMAGE_COMMANDS;

/** Where makeOsImage puts the ext4 root file system. */
export const ROOT_START_BYTE = 5 * 1024 * 1024;

export interface SmallImageContents {
  boot?: MemoryFiles;
  root?: MemoryFiles;
  bootMiB?: number;
}

/** Writes the image to `path`; `boot` and `root` add to the busybox system, or replace files of it. */
export function makeSmallImage(path: string, { boot = {}, root = {}, bootMiB }: SmallImageContents = {}): void {
  const folder = mkdtempSync(join(tmpdir(), "bramble-image-"));
  try {
    const bootTree = join(folder, "boot");
    const rootTree = join(folder, "root");
    writeFiles(bootTree, { ...BUSYBOX.boot, ...boot });
    writeFiles(rootTree, { ...BUSYBOX.root, ...root });
    makeOsImage(path, { bootTree, rootTree, ...(bootMiB !== undefined && { bootMiB }) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** As `memoryFiles` reads them: a key that ends in `/` is a folder, a value that begins with `-> ` a symlink. */
function writeFiles(folder: string, files: MemoryFiles): void {
  mkdirSync(folder, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    const target = join(folder, path);
    mkdirSync(path.endsWith("/") ? target : dirname(target), { recursive: true });
    if (path.endsWith("/")) continue;
    if (typeof content === "string" && content.startsWith("-> ")) symlinkSync(content.slice("-> ".length), target);
    else writeFileSync(target, content);
  }
}
