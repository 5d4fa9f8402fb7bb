import { readFile } from "node:fs/promises";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";

export interface Neighbour {
  address: Ipv4;
  mac: Mac;
  interfaceName: string;
}

/** ARPHRD_ETHER (linux/if_arp.h). Other networks have addresses of other lengths. */
const ETHERNET = 0x1;
/** The flag of a complete entry in /proc/net/arp (ATF_COM, linux/if_arp.h). */
const COMPLETE = 0x2;

/** What the kernel knows of who has which address, from `/proc/net/arp`; complete entries of Ethernet only. */
export async function neighbours(): Promise<Neighbour[]> {
  return parseArpTable(await readFile("/proc/net/arp", "utf8").catch(() => ""));
}

export function parseArpTable(text: string): Neighbour[] {
  const found: Neighbour[] = [];
  for (const line of text.split("\n").slice(1)) {
    const [address, hardware, flags, mac, , interfaceName] = line.trim().split(/\s+/);
    if (!address || !mac || !interfaceName || Number(hardware) !== ETHERNET || !(Number(flags) & COMPLETE)) continue;
    found.push({ address: parseIpv4(address), mac: parseMac(mac), interfaceName });
  }
  return found;
}
