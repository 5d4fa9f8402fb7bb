/** Opens and closes the ports of the three boot services on each of our networks: NFS, TFTP and DHCP, in that order. */

import type { Manifest } from "../cluster/manifest.ts";
import type { DhcpObservation } from "../dhcp/observation.ts";
import type { DhcpPolicy, LeaseStore } from "../dhcp/policy.ts";
import { type DhcpNetwork, type DhcpServer, startDhcpServer } from "../dhcp/server.ts";
import { MOUNT_PROGRAM, MOUNT_VERSION } from "../nfs/mount.ts";
import { NFS_PROGRAM, NFS_VERSION } from "../nfs/nfs-program.ts";
import { PORTMAP_PROGRAM, PORTMAP_VERSION, type PortMapping } from "../nfs/portmap.ts";
import type { Clock, Random, UdpSockets } from "../ports.ts";
import { openArpProbe } from "../system/arp-probe.ts";
import { ownAddresses } from "../system/network-interfaces.ts";
import { listenTcp } from "../system/tcp.ts";
import { startTftpListener, type TftpListener, type TftpListenerOptions } from "../tftp/listener.ts";
import { dhcpNetworks } from "./dhcp-settings.ts";
import type { FrontDoor } from "./front-door.ts";
import { startPortMapper } from "./port-mapper.ts";
import type { Reception } from "./reception.ts";
import { bindingOf, type ServiceNetwork } from "./service-networks.ts";

export { bindingOf, type ServiceNetwork, serviceNetwork, serviceNetworks } from "./service-networks.ts";

export interface ServicesOptions {
  manifest: Manifest;
  /** The first has an address that every node knows. */
  networks: readonly ServiceNetwork[];
  sockets: UdpSockets;
  clock: Clock;
  random: Random;
  /** Open already, for NFS and MOUNT. */
  frontDoor: FrontDoor;
  reception: Reception;
  tftp: Pick<TftpListenerOptions, "accept" | "observe">;
  dhcp: { policy: DhcpPolicy; leases: LeaseStore; observe(observation: DhcpObservation): void };
  onWarning(message: string): void;
}

export class Services {
  readonly #options: ServicesOptions;
  #stopPortMapper: () => Promise<void> = async () => {};
  #tftp: TftpListener[] = [];
  #dhcp: DhcpServer | undefined;

  constructor(options: ServicesOptions) {
    this.#options = options;
  }

  /** Rejects with the first port that cannot be had; nothing stays open then, the front door neither. */
  async start(): Promise<void> {
    try {
      const { frontDoor, reception } = this.#options;
      frontDoor.serve((accepted) => reception.acceptConnection(accepted));
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
    for (const listener of this.#tftp.splice(0)) listener.close();
    await this.#stopPortMapper();
    await this.#options.frontDoor.close();
  }

  async #startPortmap(): Promise<void> {
    const { manifest } = this.#options;
    const { portmap: port } = manifest.network.ports;
    if (port === 0) return;
    const serve = () => this.#servePortmap(port);
    this.#stopPortMapper = await startPortMapper({ ...this.#options, port, serve, mappings: portMappings(manifest) });
  }

  async #servePortmap(port: number): Promise<() => Promise<void>> {
    const { networks, sockets, reception } = this.#options;
    const open: (() => void | Promise<void>)[] = [];
    const close = async () => {
      for (const each of open) await each();
    };
    try {
      for (const network of networks) {
        const socket = await sockets.bind({ ...bindingOf(network), port });
        open.push(() => socket.close());
        const listener = await listenTcp({ address: network.address, port }, (accepted) =>
          reception.acceptConnection(accepted),
        );
        open.push(() => listener.close());
        reception.serveDatagrams(socket);
      }
      return close;
    } catch (error) {
      await close();
      throw error;
    }
  }

  async #startTftp(): Promise<void> {
    const { manifest, networks, sockets, tftp } = this.#options;
    for (const network of networks) {
      const binding = { ...bindingOf(network), port: manifest.network.ports.tftp };
      this.#tftp.push(await startTftpListener({ sockets, binding, ...tftp }));
    }
  }

  async #startDhcp(): Promise<void> {
    const { manifest, networks, sockets, clock, dhcp, onWarning } = this.#options;
    const { dhcp: mode, ports } = manifest.network;
    const all = dhcpNetworks(manifest, networks, ownAddresses());
    // Where it is another's, it is heard by the interfaces that the manifest names: the port of all others may be in use.
    const ours = mode === "external" ? all.filter(({ interfaceName }) => interfaceName !== undefined) : all;
    const [first, ...others] = ours.map((network) => this.#withProbe(network));
    if (!first) return;
    try {
      this.#dhcp = await startDhcpServer({
        ...first,
        others,
        sockets,
        clock,
        policy: dhcp.policy,
        leaseStore: dhcp.leases,
        observe: dhcp.observe,
        ports: { server: ports.dhcp, client: ports.dhcp + 1 },
      });
    } catch (error) {
      // Then we would only have listened: the program that has the port is the one that answers.
      if (mode !== "external") throw error;
      onWarning(`No DHCP is heard, so less is known of each boot. ${(error as Error).message}`);
    }
  }

  /** Without the right to packet sockets, addresses are given without asking who has them. */
  #withProbe(network: DhcpNetwork): DhcpNetwork {
    const { settings, interfaceName } = network;
    if (settings.mode !== "server" || interfaceName === undefined) return network;
    try {
      return { ...network, probe: openArpProbe(interfaceName, this.#options.clock) };
    } catch (error) {
      this.#options.onWarning((error as Error).message);
      return network;
    }
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
