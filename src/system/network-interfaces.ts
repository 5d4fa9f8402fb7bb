/**
 * IPv4 addresses of this machine. Node lists only interfaces with a link, and a manager may well start before the
 * switch does; so the kernel is asked (netdevice(7)), in the network namespace of this process.
 */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { type Ipv4, ipv4FromBytes, parseIpv4 } from "../bytes/addresses.ts";
import { AF_INET, libc, SOCK_CLOEXEC, SOCK_DGRAM } from "./udp-libc.ts";

export interface InterfaceAddress {
  interfaceName: string;
  address: Ipv4;
  netmask: Ipv4;
}

const SIOCGIFADDR = 0x8915;
const SIOCGIFNETMASK = 0x891b;
/** `struct ifreq`: the name, then a `sockaddr_in` with the address at byte 4. */
const INTERFACE_REQUEST_BYTES = 40;
const ADDRESS_OFFSET = 20;

/** The first address of each interface, loopback included. */
export function interfaceAddresses(): InterfaceAddress[] {
  const socket = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return addressesWithLink();
  try {
    return interfaceNames().flatMap((interfaceName) => {
      const address = ask(socket, SIOCGIFADDR, interfaceName);
      const netmask = ask(socket, SIOCGIFNETMASK, interfaceName);
      return address && netmask ? [{ interfaceName, address, netmask }] : [];
    });
  } finally {
    libc.close(socket);
  }
}

/** All of them, as far as they can be known: without a link, only the first of an interface. */
export function ownAddresses(): Ipv4[] {
  return [...new Set([...interfaceAddresses(), ...addressesWithLink()].map(({ address }) => address))];
}

/** Not /sys/class/net: a namespace made later still sees the interfaces of the one that mounted it. */
export function interfaceNames(): string[] {
  const lines = readFileSync("/proc/net/dev", "utf8").split("\n").slice(2);
  return lines.map((line) => line.slice(0, line.indexOf(":")).trim()).filter((name) => name !== "");
}

function ask(socket: number, request: number, interfaceName: string): Ipv4 | undefined {
  const argument = Buffer.alloc(INTERFACE_REQUEST_BYTES);
  argument.write(interfaceName, "latin1");
  if (libc.ioctl(socket, request, argument) < 0) return undefined;
  return ipv4FromBytes(argument.subarray(ADDRESS_OFFSET, ADDRESS_OFFSET + 4));
}

function addressesWithLink(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([interfaceName, infos]) =>
    (infos ?? [])
      .filter((info) => info.family === "IPv4")
      .map((info) => ({ interfaceName, address: parseIpv4(info.address), netmask: parseIpv4(info.netmask) })),
  );
}

export class NoSuchInterfaceError extends Error {
  constructor(interfaceName: string, present: readonly InterfaceAddress[]) {
    const exists = interfaceNames().includes(interfaceName);
    const others = present.map((each) => `${each.interfaceName} (${each.address})`).join(", ") || "none";
    super(
      `Cannot use network interface "${interfaceName}": ` +
        `${exists ? "it has no IPv4 address; give it one" : "it does not exist; set network.interface in the manifest"}. ` +
        `Interfaces with an address: ${others}`,
    );
    this.name = "NoSuchInterfaceError";
  }
}

/** The first IPv4 address of an interface. Throws `NoSuchInterfaceError`. */
export function addressOfInterface(interfaceName: string): InterfaceAddress {
  const all = interfaceAddresses();
  const found = all.find((each) => each.interfaceName === interfaceName);
  if (!found) throw new NoSuchInterfaceError(interfaceName, all);
  return found;
}
