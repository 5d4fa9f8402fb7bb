/**
 * The EEPROM boot loader's netconsole: the lines of its serial log as UDP datagrams, from before DHCP to the kernel's start.
 * Documentation "eeprom-bootloader" (`NETCONSOLE`) and rpi-eeprom issues 440 and 452; the syntax is that of Linux.
 */
import { IPV4_BROADCAST, type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { EthernetPort } from "../ports.ts";
import type { EepromRelease } from "./firmware-releases.ts";
import { encodeUdp, MAC_BROADCAST } from "./frames.ts";

interface NetconsoleSettings {
  from: { address: Ipv4; port: number };
  to: { address: Ipv4; port: number };
  mac: Mac;
}

const KEY_BYTES_MAX = 32;
const DEFAULT_PORTS = { from: 6665, to: 6666 };
const MAC_UNSET = "00:00:00:00:00:00";

/** `6665@169.254.1.1/,6666@/`: all separators and the source address are needed. `undefined` for what the loader ignores. */
export function parseNetconsole(key: string): NetconsoleSettings | undefined {
  const parts = /^(\d*)@([\d.]+)\/\w*,(\d*)@([\d.]*)\/([\da-f:]*)$/i.exec(key);
  if (parts === null || key.length > KEY_BYTES_MAX) return undefined;
  const [, fromPort, from, toPort, to, mac] = parts as unknown as [string, string, string, string, string, string];
  try {
    const destination = mac === "" || mac === MAC_UNSET ? MAC_BROADCAST : parseMac(mac);
    return {
      from: { address: parseIpv4(from), port: Number(fromPort || DEFAULT_PORTS.from) },
      to: { address: to === "" ? IPV4_BROADCAST : parseIpv4(to), port: Number(toPort || DEFAULT_PORTS.to) },
      mac: destination,
    };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Sends each line in a datagram of its own. */
export function netconsole(
  key: string | undefined,
  port: EthernetPort,
  sourceMac: Mac,
  { hasNetconsoleMac }: Pick<EepromRelease, "hasNetconsoleMac">,
): (line: string) => void {
  const settings = key === undefined ? undefined : parseNetconsole(key);
  if (settings === undefined) return () => {};
  const { from, to } = settings;
  const mac = hasNetconsoleMac ? settings.mac : MAC_BROADCAST;
  return (line) => port.send(encodeUdp({ sourceMac, from, to, bytes: Buffer.from(`${line}\n`, "latin1") }, mac));
}
