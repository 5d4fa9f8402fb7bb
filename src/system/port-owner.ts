/** Which program has a port: /proc/net/{udp,tcp}* for the socket, /proc/PID/fd for the process (proc(5)). */
import { descriptorLinks, processFolders, procText } from "./proc-files.ts";

export interface PortOwner {
  pid: number;
  /** The name of the program, as `ps -o comm` shows it. */
  name: string;
}

export type PortProtocol = "udp" | "tcp";

/** The state of a TCP socket that listens; a UDP socket has no states. */
const TCP_LISTEN = "0A";

/** `undefined` when nobody has it, or when its owner may not be seen (another user's process, and we are not root). */
export function portOwner(protocol: PortProtocol, port: number): PortOwner | undefined {
  const sockets = new Set(
    [`/proc/net/${protocol}`, `/proc/net/${protocol}6`]
      .flatMap((table) => socketInodes(readLines(table), protocol, port))
      .map((inode) => `socket:[${inode}]`),
  );
  if (sockets.size === 0) return undefined;
  const pid = processFolders().find((name) => descriptorLinks(name).some((link) => sockets.has(link)));
  return pid === undefined ? undefined : { pid: Number(pid), name: readLines(`/proc/${pid}/comm`)[0] || "?" };
}

/** Inodes of the sockets at `port` in the lines of one of the kernel's tables. */
export function socketInodes(lines: readonly string[], protocol: PortProtocol, port: number): string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return lines
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(wanted) && (protocol === "udp" || state === TCP_LISTEN))
    .flatMap((columns) => columns[9] ?? []);
}

function readLines(path: string): string[] {
  return procText(path).split("\n");
}
