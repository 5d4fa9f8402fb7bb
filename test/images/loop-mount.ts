import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface MountSettings {
  /** As for `mount -o`. */
  options: string;
  fileSystem?: "ext4" | "vfat";
  /** Where the file system lies in the file; all of it when absent. */
  startByte?: number;
  sizeBytes?: number;
}

/** Mounts a file system image as the kernel sees it, for as long as `use` runs. Needs root. */
export function withMount<T>(imagePath: string, settings: MountSettings, use: (mountPoint: string) => T): T {
  const { options, fileSystem = "ext4", startByte = 0, sizeBytes = 0 } = settings;
  const run = (command: string, ...args: string[]): string =>
    execFileSync(command, args, { stdio: "pipe", encoding: "utf8" }).trim();
  const mountPoint = mkdtempSync(join(tmpdir(), "bramble-mount-"));
  // Not `mount -o loop`: it refuses a file that another loop device of the machine is on.
  const device = run("losetup", "--find", "--show", "-o", `${startByte}`, "--sizelimit", `${sizeBytes}`, imagePath);
  try {
    run("mount", "-t", fileSystem, "-o", options, device, mountPoint);
    try {
      return use(mountPoint);
    } finally {
      run("umount", mountPoint);
    }
  } finally {
    run("losetup", "--detach", device);
    rmdirSync(mountPoint);
  }
}
