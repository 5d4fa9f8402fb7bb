/**
 * The TCP ports of NFS and MOUNT. They are open before nodes can be served: a running node whose manager is started again
 * connects at once, and where that is refused again 3 s, 9 s and 21 s later (`xs_connect` in Linux's
 * net/sunrpc/xprtsock.c). So who comes early waits here, unread, until there is somebody to serve it.
 */
import { NFS_CONNECTIONS_WAITING_MAX } from "../limits.ts";
import type { TcpListener } from "../ports.ts";
import { type AcceptedConnection, listenTcp } from "../system/tcp.ts";
import type { ServiceNetwork } from "./service-networks.ts";

export class FrontDoor {
  #listeners: TcpListener[] = [];
  /** Who came first stands first. */
  #waiting: AcceptedConnection[] = [];
  #serve: ((accepted: AcceptedConnection) => void) | undefined;

  /** Rejects with the first port that cannot be had; nothing stays open then. */
  static async open(
    networks: readonly Pick<ServiceNetwork, "address">[],
    ports: { nfs: number; mount: number },
  ): Promise<FrontDoor> {
    const door = new FrontDoor();
    try {
      for (const { address } of networks) {
        for (const port of new Set([ports.nfs, ports.mount])) {
          door.#listeners.push(await listenTcp({ address, port }, (accepted) => door.#take(accepted)));
        }
      }
      return door;
    } catch (error) {
      await door.close();
      throw error;
    }
  }

  /** For tests, which ask for port 0: in the order of networks and ports. */
  get localPorts(): number[] {
    return this.#listeners.map(({ localPort }) => localPort);
  }

  /** From now on everybody goes to `serve`, those first who have waited. */
  serve(serve: (accepted: AcceptedConnection) => void): void {
    this.#serve = serve;
    for (const accepted of this.#waiting.splice(0)) serve(accepted);
  }

  /** May be called twice. Who still waits is sent away. */
  async close(): Promise<void> {
    for (const accepted of this.#waiting.splice(0)) accepted.close();
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
  }

  #take(accepted: AcceptedConnection): void {
    if (this.#serve) {
      this.#serve(accepted);
      return;
    }
    this.#waiting.push(accepted);
    // Whoever has waited longest may have given up; one that has not comes again.
    if (this.#waiting.length > NFS_CONNECTIONS_WAITING_MAX) this.#waiting.shift()?.close();
  }
}
