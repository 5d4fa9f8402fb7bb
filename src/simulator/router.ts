/**
 * A home router on the virtual Pis' network: it gives addresses to everybody and tells nobody where to boot from. That
 * is what a manifest with `dhcp: proxy` counts on. It is our own lease server on the virtual Pi's network stack.
 * Left out: everything else that routers do. It routes nothing, and resolves no names.
 */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber, parseMac } from "../bytes/addresses.ts";
import { startDhcpServer } from "../dhcp/server.ts";
import type { Clock, EthernetPort } from "../ports.ts";
import { NetworkStack } from "./network-stack.ts";
import { stackUdpSockets } from "./stack-sockets.ts";

/** Locally administered, so nobody's. */
const ROUTER_MAC = parseMac("02:00:5e:00:00:01");
/** A home router's usual day. */
const LEASE_TIME_S = 24 * 60 * 60;

export interface RouterSettings {
  port: EthernetPort;
  clock: Clock;
  /** Of the router, and of the network it is on. */
  address: Ipv4;
  prefixLength: number;
  /** Addresses of the network that others have, so that nobody is given them. */
  taken: readonly Ipv4[];
}

/** The last address of the network that is not taken, where routers like to live. */
export function lastFreeAddress(network: Pick<RouterSettings, "address" | "prefixLength" | "taken">): Ipv4 {
  const { first, last } = usableAddresses(network);
  for (let address = last; address >= first; address--) {
    const candidate = ipv4FromNumber(address);
    if (!network.taken.includes(candidate)) return candidate;
  }
  throw new Error(
    `Cannot simulate a router: no address of ${ipv4FromNumber(first - 1)}/${network.prefixLength} is free`,
  );
}

/** Returns how to switch it off. */
export async function startRouter(settings: RouterSettings): Promise<() => Promise<void>> {
  const { port, clock, address, taken } = settings;
  const { first, last, netmask } = usableAddresses(settings);
  const stack = new NetworkStack({ mac: ROUTER_MAC, clock, transmit: (frame) => port.send(frame) });
  stack.configure({ address, netmask });
  port.onFrame((frame) => stack.receive(frame));
  const server = await startDhcpServer({
    sockets: stackUdpSockets(stack),
    clock,
    settings: {
      mode: "server",
      serverAddress: address,
      subnetMask: netmask,
      routers: [address],
      dnsServers: [address],
      leaseTimeS: LEASE_TIME_S,
      range: { first: ipv4FromNumber(first), last: ipv4FromNumber(last) },
    },
    policy: {
      classify: () => ({ kind: "other" }),
      isReserved: (candidate) => taken.includes(candidate),
      isNode: () => false,
    },
    observe: () => {},
  });
  return async () => {
    server.close();
    await port.close();
  };
}

/** All but the network's own address and its broadcast. */
function usableAddresses({ address, prefixLength }: Pick<RouterSettings, "address" | "prefixLength">) {
  const hostBits = 32 - prefixLength;
  const mask = (0xffffffff << hostBits) >>> 0;
  const network = (ipv4ToNumber(address) & mask) >>> 0;
  return { first: network + 1, last: network + 2 ** hostBits - 2, netmask: ipv4FromNumber(mask) };
}
