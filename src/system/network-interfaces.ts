import { networkInterfaces } from "node:os";
import { type Ipv4, parseIpv4 } from "../bytes/addresses.ts";

export interface InterfaceAddress {
  interfaceName: string;
  address: Ipv4;
  netmask: Ipv4;
}

/** IPv4 addresses of this machine, loopback included. */
export function interfaceAddresses(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([interfaceName, infos]) =>
    (infos ?? [])
      .filter((info) => info.family === "IPv4")
      .map((info) => ({ interfaceName, address: parseIpv4(info.address), netmask: parseIpv4(info.netmask) })),
  );
}

export class NoSuchInterfaceError extends Error {
  constructor(interfaceName: string, present: readonly string[]) {
    super(
      `Cannot use network interface "${interfaceName}": it has no IPv4 address or does not exist. ` +
        `Interfaces with an address: ${present.join(", ") || "none"}. Set network.interface in the manifest`,
    );
    this.name = "NoSuchInterfaceError";
  }
}

/** The first IPv4 address of an interface. Throws `NoSuchInterfaceError`. */
export function addressOfInterface(interfaceName: string): InterfaceAddress {
  const all = interfaceAddresses();
  const found = all.find((each) => each.interfaceName === interfaceName);
  if (!found) throw new NoSuchInterfaceError(interfaceName, [...new Set(all.map((each) => each.interfaceName))]);
  return found;
}
