/** What this process may do, from its effective capabilities (capabilities(7)). */
import { readFileSync } from "node:fs";

export interface Capabilities {
  /** Bind ports below 1024. */
  netBindService: boolean;
  /** Open raw and packet sockets. */
  netRaw: boolean;
}

const CAP_NET_BIND_SERVICE = 10n;
const CAP_NET_RAW = 13n;

export function capabilities(): Capabilities {
  const digits = /^CapEff:\s*([0-9a-f]+)/m.exec(readText("/proc/self/status"))?.[1] ?? "0";
  const has = (bit: bigint) => ((BigInt(`0x${digits}`) >> bit) & 1n) === 1n;
  return { netBindService: has(CAP_NET_BIND_SERVICE), netRaw: has(CAP_NET_RAW) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
