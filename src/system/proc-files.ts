/**
 * Reading /proc (proc(5)). Processes come and go while we look, and other users' cannot be looked into: both read as
 * nothing.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export function procNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The numbers of all processes that can be seen, as their folders are called. */
export function processFolders(): string[] {
  return procNames("/proc").filter((name) => /^\d+$/.test(name));
}

export function procLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

export function procText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** What the open descriptors of a process link to. */
export function descriptorLinks(pid: string): string[] {
  return procNames(`/proc/${pid}/fd`).map((fd) => procLink(`/proc/${pid}/fd/${fd}`));
}
