/** Why a port could not be had, in words that say what to do. */
import os from "node:os";
import { type PortProtocol, portOwner } from "./port-owner.ts";

export interface PortBinding {
  address: string;
  port: number;
  interfaceName?: string;
}

/** An error with the operating system's `code`, for `EADDRINUSE`, `EACCES` and so on. */
export class BindError extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.name = "BindError";
    this.code = code;
  }
}

const PRIVILEGED_PORTS_END = 1024;

export function bindError(protocol: PortProtocol, binding: PortBinding, code: string): BindError {
  const where = [
    `${protocol.toUpperCase()} port ${binding.port}`,
    binding.address === "0.0.0.0" ? "" : ` of ${binding.address}`,
    binding.interfaceName === undefined ? "" : ` on ${binding.interfaceName}`,
  ].join("");
  return new BindError(`Cannot use ${where}: ${reason(protocol, binding, code)}`, code);
}

function reason(protocol: PortProtocol, { address, port, interfaceName }: PortBinding, code: string): string {
  switch (code) {
    case "EADDRINUSE": {
      const owner = portOwner(protocol, port);
      return owner
        ? `${owner.name} (process ${owner.pid}) has it; stop that, or choose another port`
        : "another program has it (root can see which); stop that, or choose another port";
    }
    case "EACCES":
    case "EPERM":
      return port < PRIVILEGED_PORTS_END
        ? `ports below ${PRIVILEGED_PORTS_END} need the capability CAP_NET_BIND_SERVICE; ${howToGrant()}`
        : `this needs the capability CAP_NET_RAW; ${howToGrant()}`;
    case "ENODEV":
      return `there is no interface ${interfaceName}; there are ${interfaceNames()}`;
    case "EADDRNOTAVAIL":
      return `no interface of this machine has the address ${address}; there are ${interfaceNames()}`;
    default:
      return `the system says ${code}`;
  }
}

function howToGrant(): string {
  return `run as root, or: sudo setcap cap_net_bind_service,cap_net_raw+ep ${process.execPath}`;
}

/** `eth0 (192.0.2.2), lo (127.0.0.1)` */
function interfaceNames(): string {
  const described = Object.entries(os.networkInterfaces()).map(([name, addresses = []]) => {
    const ipv4 = addresses.filter(({ family }) => family === "IPv4").map((entry) => entry.address);
    return ipv4.length > 0 ? `${name} (${ipv4.join(", ")})` : name;
  });
  return described.join(", ") || "none";
}
