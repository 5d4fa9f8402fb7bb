/**
 * What the kernel says of each network interface of this process's namespace (netdevice(7)). Not from /sys/class/net: a
 * namespace made later still sees the interfaces of the one that mounted it.
 */
import { readFileSync } from "node:fs";
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import { interfaceNames } from "./network-interfaces.ts";
import { AF_INET, addressOf, libc, SOCK_CLOEXEC, SOCK_DGRAM } from "./udp-libc.ts";

export interface InterfaceState {
  name: string;
  /** Of Ethernet interfaces. */
  mac?: Mac;
  isUp: boolean;
  hasCarrier: boolean;
  isLoopback: boolean;
  mtuBytes: number;
  driver?: string;
  reversePathFilter?: number;
}

const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCETHTOOL = 0x8946;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;
/** `struct ifreq`: the name, then what is asked. */
const REQUEST_BYTES = 40;
const ANSWER_AT = 16;
/** `struct ethtool_drvinfo`: the command, then the driver's name. */
const ETHTOOL_GDRVINFO = 3;
const DRIVER_INFO_BYTES = 196;
const DRIVER_AT = [4, 36] as const;

export function interfaceStates(): InterfaceState[] {
  const socket = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return [];
  try {
    return interfaceNames().flatMap((name) => stateOf(socket, name) ?? []);
  } finally {
    libc.close(socket);
  }
}

function stateOf(socket: number, name: string): InterfaceState | undefined {
  const flags = ask(socket, SIOCGIFFLAGS, name)?.readUInt16LE(ANSWER_AT);
  const mtuBytes = ask(socket, SIOCGIFMTU, name)?.readInt32LE(ANSWER_AT);
  // It went away since it was listed.
  if (flags === undefined || mtuBytes === undefined) return undefined;
  const hardware = ask(socket, SIOCGIFHWADDR, name);
  const driver = driverOf(socket, name);
  const reversePathFilter = reversePathFilterOf(name);
  return {
    name,
    ...(hardware?.readUInt16LE(ANSWER_AT) === ARPHRD_ETHER && {
      mac: macFromBytes(hardware.subarray(ANSWER_AT + 2, ANSWER_AT + 8)),
    }),
    isUp: (flags & IFF_UP) !== 0,
    hasCarrier: (flags & IFF_RUNNING) !== 0,
    isLoopback: (flags & IFF_LOOPBACK) !== 0,
    mtuBytes,
    ...(driver && { driver }),
    ...(reversePathFilter !== undefined && { reversePathFilter }),
  };
}

function ask(socket: number, request: number, name: string): Buffer | undefined {
  const argument = Buffer.alloc(REQUEST_BYTES);
  argument.write(name, "latin1");
  return libc.ioctl(socket, request, argument) < 0 ? undefined : argument;
}

function driverOf(socket: number, name: string): string | undefined {
  const info = Buffer.alloc(DRIVER_INFO_BYTES);
  info.writeUInt32LE(ETHTOOL_GDRVINFO, 0);
  const argument = Buffer.alloc(REQUEST_BYTES);
  argument.write(name, "latin1");
  argument.writeBigUInt64LE(addressOf(info), ANSWER_AT);
  if (libc.ioctl(socket, SIOCETHTOOL, argument) < 0) return undefined;
  return (
    info
      .subarray(...DRIVER_AT)
      .toString("latin1")
      .replace(/\0.*$/s, "") || undefined
  );
}

/** Documentation/networking/ip-sysctl.rst: the larger of the interface's value and that for all counts. */
function reversePathFilterOf(name: string): number | undefined {
  const values = ["all", name].map((which) => {
    try {
      return Number(readFileSync(`/proc/sys/net/ipv4/conf/${which}/rp_filter`, "utf8"));
    } catch {
      return Number.NaN;
    }
  });
  const value = Math.max(...values);
  return Number.isNaN(value) ? undefined : value;
}
