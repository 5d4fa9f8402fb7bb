/** Whether this is a container or the Windows Subsystem for Linux, and where packets leave. */
import { existsSync, readFileSync } from "node:fs";
import type { Ipv4 } from "../bytes/addresses.ts";

/** `docker`, `podman`, `kubernetes`, `lxc`, …, or `undefined`. What they leave behind, as systemd-detect-virt looks for it. */
export function containerKind(): string | undefined {
  if (process.env.KUBERNETES_SERVICE_HOST !== undefined) return "kubernetes";
  if (existsSync("/run/.containerenv")) return "podman";
  if (existsSync("/.dockerenv") && hasFilesOfDocker()) return "docker";
  return readText("/run/systemd/container").trim() || process.env.container || undefined;
}

/** Docker mounts these over a container's own. A virtual machine made from an image for containers has the marker alone. */
function hasFilesOfDocker(): boolean {
  return / \/etc\/(hosts|hostname|resolv\.conf) /.test(readText("/proc/self/mountinfo"));
}

export function isWsl(): boolean {
  return /microsoft/i.test(readText("/proc/sys/kernel/osrelease"));
}

/** Of the default route, from /proc/net/route. */
export function defaultGateway(): Ipv4 | undefined {
  return parseRoutes(readText("/proc/net/route"));
}

/** Addresses are eight hex digits in the processor's order: little-endian on all that this runs on. */
export function parseRoutes(text: string): Ipv4 | undefined {
  const routes = text.split("\n").map((line) => line.split("\t"));
  const [, , gateway] = routes.find(([, destination]) => destination === "00000000") ?? [];
  if (!gateway || !/^[0-9A-F]{8}$/i.test(gateway) || gateway === "00000000") return undefined;
  return [...Buffer.from(gateway, "hex")].reverse().join(".") as Ipv4;
}

/** `net.ipv4.ip_forward`; `undefined` when it cannot be read. */
export function forwardsPackets(): boolean | undefined {
  const text = readText("/proc/sys/net/ipv4/ip_forward").trim();
  return text === "" ? undefined : text !== "0";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
