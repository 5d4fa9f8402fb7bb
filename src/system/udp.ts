/** The UDP sockets of this machine. */
import type { UdpSockets } from "../ports.ts";
import type { LinuxUdpOptions } from "./udp-linux.ts";
import { nodeUdpSockets } from "./udp-node.ts";

/** Structures in udp-batch.ts are laid out for these. */
const ARCHITECTURES = new Set(["x64", "arm64"]);

/** Linux calls where they can be had, node:dgram elsewhere (see udp-node.ts for what is lost). */
export async function createUdpSockets(options: LinuxUdpOptions = {}): Promise<UdpSockets> {
  if (process.platform !== "linux" || !ARCHITECTURES.has(process.arch)) return nodeUdpSockets();
  try {
    const { linuxUdpSockets } = await import("./udp-linux.ts");
    return linuxUdpSockets(options);
  } catch {
    // koffi has no binary for this system's C library.
    return nodeUdpSockets();
  }
}
