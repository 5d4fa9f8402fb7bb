/**
 * Where clients arrive: gives each connection and each boot file to the worker of the node it is, refuses strangers
 * itself, and answers the datagrams of the port mapper and of MOUNT.
 */
import { type AddressOwners, mountExports, type TreesById } from "../boot/node-exports.ts";
import type { BootFileName } from "../boot/tftp-files.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { ObserveNfs } from "../nfs/observation.ts";
import { limitObservations } from "../nfs/observation-limit.ts";
import type { PortMapping } from "../nfs/portmap.ts";
import { createNfsService, type NfsService } from "../nfs/server.ts";
import type { Awaitable, Clock, TcpConnection, UdpSocket } from "../ports.ts";
import type { AcceptedConnection } from "../system/tcp.ts";
import type { TftpReadRequest, TftpRefusal } from "../tftp/handler.ts";
import { ConnectionsByAddress } from "./connections-by-address.ts";

/** Who serves the nodes. */
export interface NodeWorkers {
  serveConnection(node: string, accepted: AcceptedConnection): void;
  serveTftp(node: string, path: string, request: TftpReadRequest): void;
}

export interface ReceptionOptions {
  owners: AddressOwners;
  trees: TreesById;
  workers: NodeWorkers;
  /** As of `NfsServiceOptions`. */
  handleKey: Uint8Array;
  requirePrivilegedPorts: boolean;
  portMappings: readonly PortMapping[];
  clock: Pick<Clock, "after" | "monotonicMs">;
  observe: ObserveNfs;
  /** Called with each connection before it is given to anybody: the moment to learn whose its address is. */
  learnNeighbours(): Promise<void>;
}

export class Reception {
  readonly #options: ReceptionOptions;
  readonly #nfs: NfsService;
  readonly #strangers = new ConnectionsByAddress();

  constructor(options: ReceptionOptions) {
    const { owners, trees, portMappings, clock, observe } = options;
    this.#options = options;
    this.#nfs = createNfsService({
      ...options,
      observe: limitObservations(clock, observe),
      exports: { ...mountExports(owners, trees), volume: (treeId) => (trees.has(treeId) ? "forbidden" : undefined) },
      // No file is ever written through this service.
      writeVerifier: new Uint8Array(8),
      portMappings: () => portMappings,
    });
  }

  acceptConnection(accepted: AcceptedConnection): void {
    const { owners, workers, learnNeighbours } = this.#options;
    learnNeighbours().then(
      () => {
        const owner = owners.ownerOf(accepted.remote.address);
        if (owner === undefined) this.#serveStranger(accepted.open());
        else workers.serveConnection(owner, accepted);
      },
      () => accepted.close(),
    );
  }

  #serveStranger(connection: TcpConnection): void {
    this.#strangers.add(connection);
    this.#nfs.serveConnection(connection);
  }

  /** Who is no stranger any more must come again, to be given to the right worker. */
  ownerChanged(address: Ipv4): void {
    this.#strangers.close(address);
  }

  serveDatagrams(socket: UdpSocket): void {
    this.#nfs.serveDatagrams(socket);
  }

  /** Has a file sent, once it is found which. */
  acceptTftp(
    request: TftpReadRequest,
    found: Awaitable<BootFileName | TftpRefusal>,
  ): Awaitable<TftpRefusal | undefined> {
    const give = (found: BootFileName | TftpRefusal): TftpRefusal | undefined => {
      if ("kind" in found) return found;
      this.#options.workers.serveTftp(found.node, found.path, request);
      return undefined;
    };
    return found instanceof Promise ? found.then(give) : give(found);
  }
}
