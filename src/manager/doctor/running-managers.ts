/** Managers that run on this machine, in this network: processes of `bramble up`, from /proc (proc(5)). */
import { resolve } from "node:path";
import type { RunningManager } from "../../cluster/doctor/facts.ts";
import { descriptorLinks, processFolders, procLink, procText } from "../../system/proc-files.ts";
import { socketPathOf } from "../state-folder.ts";

export function runningManagers(stateFolder: string): RunningManager[] {
  const socket = socketLink(resolve(socketPathOf(stateFolder)));
  const ownNetwork = procLink("/proc/self/ns/net");
  const found = processFolders()
    .filter((name) => Number(name) !== process.pid && isManager(name))
    .map((name) => ({
      pid: Number(name),
      network: procLink(`/proc/${name}/ns/net`),
      descriptors: descriptorLinks(name),
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
  const words = procText(`/proc/${pid}/cmdline`).split("\0");
  const program = words.findIndex((word) => /(^|\/)(cli\/main\.js|bramble)$/.test(word));
  return program >= 0 && /(^|\/)node$/.test(words[0] ?? "") && words.slice(program + 1).includes("up");
}

/** What a descriptor of the listening socket at `path` links to. */
function socketLink(path: string): string | undefined {
  const line = procText("/proc/net/unix")
    .split("\n")
    .find((each) => each.endsWith(` ${path}`));
  const inode = line?.trim().split(/\s+/)[6];
  return inode === undefined ? undefined : `socket:[${inode}]`;
}
