/** Managers that run on this machine, in this network: processes of `bramble up`, from /proc (proc(5)). */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { resolve } from "node:path";
import type { RunningManager } from "../../cluster/doctor/facts.ts";
import { socketPathOf } from "../state-folder.ts";

export function runningManagers(stateFolder: string): RunningManager[] {
  const socket = socketLink(resolve(socketPathOf(stateFolder)));
  const ownNetwork = linkTarget("/proc/self/ns/net");
  const found = names("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && isManager(name))
    .map((name) => ({
      pid: Number(name),
      network: linkTarget(`/proc/${name}/ns/net`),
      descriptors: descriptors(name),
    }));
  const near = found
    .filter(({ network }) => network === ownNetwork)
    .map(({ pid, descriptors: open }) => ({ pid, isOurs: socket !== undefined && open.includes(socket) }));
  if (socket === undefined || near.some(({ isOurs }) => isOurs)) return near;
  // Another user's processes cannot be looked into; but somebody listens in our state folder.
  const [hidden] = found.filter(({ network }) => network === "");
  return [...near, { ...(hidden && { pid: hidden.pid }), isOurs: true }];
}

/** `node … dist/cli/main.js … up …`, or an installed `bramble`. */
function isManager(pid: string): boolean {
  const words = read(`/proc/${pid}/cmdline`).split("\0");
  const program = words.findIndex((word) => /(^|\/)(cli\/main\.js|bramble)$/.test(word));
  return program >= 0 && /(^|\/)node$/.test(words[0] ?? "") && words.slice(program + 1).includes("up");
}

/** What a descriptor of the listening socket at `path` links to. */
function socketLink(path: string): string | undefined {
  const line = read("/proc/net/unix")
    .split("\n")
    .find((each) => each.endsWith(` ${path}`));
  const inode = line?.trim().split(/\s+/)[6];
  return inode === undefined ? undefined : `socket:[${inode}]`;
}

function descriptors(pid: string): string[] {
  return names(`/proc/${pid}/fd`).map((fd) => linkTarget(`/proc/${pid}/fd/${fd}`));
}

// Processes come and go while we look, and other users' cannot be looked into: both read as nothing.

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
