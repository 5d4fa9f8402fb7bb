import { readFileSync } from "node:fs";

/** capabilities(7). */
const CAP_NET_RAW = 13n;

/** Whether this process may open raw and packet sockets, by its effective capabilities. */
export function mayOpenRawSockets(): boolean {
  const digits = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${digits}`) >> CAP_NET_RAW) & 1n) === 1n;
}
