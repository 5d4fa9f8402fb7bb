/**
 * FAT volumes as the Linux `vfat` driver sees them: by this machine's kernel, or where it has no such driver by
 * Debian's user-mode-linux, which is the same code as an ordinary process.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface VfatCase {
  /** The file that holds the volume. */
  path: string;
  startByte?: number;
  sizeBytes: number;
  /** Shell commands to run in the mounted volume before it is listed. */
  script?: string;
}

export interface VfatView {
  /** One line for each path: all that `stat` says, and the hash of its contents. */
  entries: Map<string, string>;
  totalBytes: number;
  freeBytes: number;
}

const SCRIPT = new URL("./vfat-kernel.sh", import.meta.url).pathname;
const USER_MODE_LINUX = "linux.uml";

export function hasVfat(): boolean {
  const hasDriver = () => /\bvfat$/m.test(readFileSync("/proc/filesystems", "latin1"));
  if (!hasDriver()) spawnSync("modprobe", ["vfat"]);
  return hasDriver();
}

export const VFAT_COMMANDS = hasVfat() ? [] : [USER_MODE_LINUX, "insmod"];

/** Runs all cases with one boot of the kernel. `folder` is empty and ours. */
export function viewByKernel(folder: string, cases: readonly VfatCase[]): VfatView[] {
  const folders = cases.map(({ path, startByte = 0, sizeBytes, script }, index) => {
    const caseFolder = join(folder, `${index}`);
    mkdirSync(caseFolder);
    symlinkSync(path, join(caseFolder, "volume"));
    writeFileSync(join(caseFolder, "place"), `${startByte} ${sizeBytes}\n`);
    if (script !== undefined) writeFileSync(join(caseFolder, "script"), script);
    return caseFolder;
  });
  const output = runScript(folder);
  if (!existsSync(join(folder, "done"))) {
    const errors = folders.map((one) =>
      existsSync(join(one, "errors")) ? readFileSync(join(one, "errors"), "utf8") : "",
    );
    throw new Error(
      `The kernel could not show all volumes:\n${output.split("as init process").at(-1)?.slice(0, 2000)}\n${errors.join("")}`,
    );
  }
  return folders.map(readView);
}

function runScript(folder: string): string {
  if (hasVfat()) return execFileSync("unshare", ["--mount", "sh", SCRIPT, folder], { encoding: "utf8" });
  const args = ["mem=256M", "rootfstype=hostfs", "rootflags=/", "rw", "con=null", "con0=null,fd:1", "init=/bin/sh"];
  // What follows "--" goes to init.
  const run = spawnSync(USER_MODE_LINUX, [...args, "--", SCRIPT, folder], {
    encoding: "utf8",
    env: { ...process.env, HOME: folder, TMPDIR: folder },
    timeout: 100_000,
  });
  return run.stdout;
}

function readView(folder: string): VfatView {
  const read = (name: string): string[] =>
    readFileSync(join(folder, name), "latin1")
      .split("\0")
      .filter((line) => line !== "");
  const hashes = new Map(read("hashes").map((line) => [line.slice(66), line.slice(0, 64)]));
  const entries = read("listing").map((line): [string, string] => {
    const [type, mode, links, size, blocks, mtime = "", atime = "", ...rest] = line.split(" ");
    const path = rest.join(" ");
    const seconds = (text: string): string => text.replace(/\.0*$/, "");
    const facts = [type, mode, links, size, blocks, seconds(mtime), seconds(atime), hashes.get(path) ?? "-"];
    return [path, facts.join(" ")];
  });
  const [blocks = 0, free = 0, blockBytes = 0] = readFileSync(join(folder, "space"), "latin1").split(" ").map(Number);
  return { entries: new Map(entries), totalBytes: blocks * blockBytes, freeBytes: free * blockBytes };
}
