/** Opens and closes the ports of the three boot services of one network: NFS, TFTP and DHCP, in that order. */

import { type Ipv4, ipv4FromNumber } from "../bytes/addresses.ts";
import { type Manifest, parseSubnet } from "../cluster/manifest.ts";
import type { DhcpObservation } from "../dhcp/observation.ts";
import type { DhcpPolicy, DhcpSettings, LeaseStore } from "../dhcp/policy.ts";
import { type DhcpServer, startDhcpServer } from "../dhcp/server.ts";
import { MOUNT_PROGRAM, MOUNT_VERSION } from "../nfs/mount.ts";
import { NFS_PROGRAM, NFS_VERSION } from "../nfs/nfs-program.ts";
import { PORTMAP_PROGRAM, PORTMAP_VERSION, type PortMapping } from "../nfs/portmap.ts";
import type { Clock, Random, TcpListener, UdpBinding, UdpSockets } from "../ports.ts";
import { addressOfInterface, type InterfaceAddress, interfaceAddresses } from "../system/network-interfaces.ts";
import { listenTcp } from "../system/tcp.ts";
import { startTftpListener, type TftpListener, type TftpListenerOptions } from "../tftp/listener.ts";
import { startPortMapper } from "./port-mapper.ts";
import type { Reception } from "./reception.ts";

const LEASE_TIME_S = 12 * 60 * 60;

/** Where the services are reachable: one interface, one address. */
export interface ServiceNetwork {
  /** Absent: bound to the address only, as on loopback. */
  interfaceName?: string;
  address: Ipv4;
  netmask: Ipv4;
}

/** From the manifest and this machine's interfaces. Throws when neither says where the Pis are. */
export function serviceNetwork({ network }: Manifest): ServiceNetwork {
  const own = ownAddress(network.interface, network.address);
  const subnet = network.subnet === undefined ? undefined : parseSubnet(network.subnet);
  return {
    ...(network.interface !== undefined && { interfaceName: network.interface }),
    address: network.address ?? own.address,
    netmask: subnet ? netmaskOf(subnet.prefixBits) : own.netmask,
  };
}

function ownAddress(interfaceName: string | undefined, address: Ipv4 | undefined): InterfaceAddress {
  if (interfaceName !== undefined) return addressOfInterface(interfaceName);
  const all = interfaceAddresses();
  const candidates = all.filter((each) => (address ? each.address === address : each.interfaceName !== "lo"));
  const [first, ...others] = candidates;
  if (first && others.length === 0) return first;
  const names = all.map((each) => `${each.interfaceName} (${each.address})`).join(", ");
  throw new Error(
    address
      ? `Cannot serve on ${address}: no interface has that address; there are ${names}`
      : `Cannot tell which network the Pis are on: set network.interface in the manifest to one of ${names}`,
  );
}

export interface ServicesOptions {
  manifest: Manifest;
  network: ServiceNetwork;
  sockets: UdpSockets;
  clock: Clock;
  random: Random;
  reception: Reception;
  tftp: Pick<TftpListenerOptions, "accept" | "observe">;
  dhcp: { policy: DhcpPolicy; leases: LeaseStore; observe(observation: DhcpObservation): void };
  onWarning(message: string): void;
}

export class Services {
  readonly #options: ServicesOptions;
  #listeners: TcpListener[] = [];
  #stopPortMapper: () => Promise<void> = async () => {};
  #tftp: TftpListener | undefined;
  #dhcp: DhcpServer | undefined;

  constructor(options: ServicesOptions) {
    this.#options = options;
  }

  /** Rejects with the first port that cannot be had; nothing stays open then. */
  async start(): Promise<void> {
    try {
      await this.#startNfs();
      await this.#startPortmap();
      await this.#startTftp();
      // Last: the answer to a DISCOVER is the promise that everything else is there.
      await this.#startDhcp();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#dhcp?.close();
    this.#tftp?.close();
    await this.#stopPortMapper();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    this.#listeners = [];
  }

  async #startNfs(): Promise<void> {
    const { nfs, mount } = this.#options.manifest.network.ports;
    for (const port of new Set([nfs, mount])) this.#listeners.push(await this.#listen(port));
  }

  #listen(port: number): Promise<TcpListener> {
    const { network, reception } = this.#options;
    return listenTcp({ address: network.address, port }, (accepted) => reception.acceptConnection(accepted));
  }

  async #startPortmap(): Promise<void> {
    const { manifest } = this.#options;
    const { portmap: port } = manifest.network.ports;
    if (port === 0) return;
    const serve = () => this.#servePortmap(port);
    this.#stopPortMapper = await startPortMapper({ ...this.#options, port, serve, mappings: portMappings(manifest) });
  }

  async #servePortmap(port: number): Promise<() => Promise<void>> {
    const { network, sockets, reception } = this.#options;
    const socket = await sockets.bind({ ...bindingOf(network), port });
    try {
      const listener = await this.#listen(port);
      reception.serveDatagrams(socket);
      return () => {
        socket.close();
        return listener.close();
      };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  async #startTftp(): Promise<void> {
    const { manifest, network, sockets, tftp } = this.#options;
    const binding = { ...bindingOf(network), port: manifest.network.ports.tftp };
    this.#tftp = await startTftpListener({ sockets, binding, ...tftp });
  }

  async #startDhcp(): Promise<void> {
    const { manifest, network, sockets, clock, dhcp } = this.#options;
    const settings = dhcpSettings(manifest, network);
    if (!settings) return;
    const server = manifest.network.ports.dhcp;
    this.#dhcp = await startDhcpServer({
      sockets,
      clock,
      settings,
      policy: dhcp.policy,
      leaseStore: dhcp.leases,
      observe: dhcp.observe,
      ports: { server, client: server + 1 },
      ...(network.interfaceName !== undefined && { interfaceName: network.interfaceName }),
    });
  }
}

/** With an interface, broadcasts must be heard, so any address of it; without one, our address only. */
export function bindingOf(network: ServiceNetwork): Omit<UdpBinding, "port"> {
  return network.interfaceName === undefined
    ? { address: network.address }
    : { address: "0.0.0.0" as Ipv4, interfaceName: network.interfaceName };
}

/** `undefined` when DHCP is somebody else's. */
export function dhcpSettings({ network: wanted }: Manifest, network: ServiceNetwork): DhcpSettings | undefined {
  const serverAddress = network.address;
  switch (wanted.dhcp) {
    case "external":
      return undefined;
    case "proxy":
      return { mode: "proxy", serverAddress };
    case "server":
      return {
        mode: "server",
        serverAddress,
        subnetMask: network.netmask,
        routers: wanted.router ? [wanted.router] : [],
        dnsServers: wanted.dns,
        leaseTimeS: LEASE_TIME_S,
        ...(wanted.domain !== undefined && { domainName: wanted.domain }),
        ...(wanted.range && { range: { first: wanted.range.from, last: wanted.range.to } }),
      };
  }
}

/** What the port mapper tells. */
export function portMappings({ network: { ports } }: Manifest): PortMapping[] {
  return [
    { program: PORTMAP_PROGRAM, version: PORTMAP_VERSION, protocol: "tcp", port: ports.portmap },
    { program: PORTMAP_PROGRAM, version: PORTMAP_VERSION, protocol: "udp", port: ports.portmap },
    { program: MOUNT_PROGRAM, version: MOUNT_VERSION, protocol: "tcp", port: ports.mount },
    { program: NFS_PROGRAM, version: NFS_VERSION, protocol: "tcp", port: ports.nfs },
  ];
}

function netmaskOf(prefixBits: number): Ipv4 {
  return ipv4FromNumber((0xffffffff << (32 - prefixBits)) >>> 0);
}
