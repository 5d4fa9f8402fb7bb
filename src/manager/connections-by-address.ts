import type { Ipv4 } from "../bytes/addresses.ts";
import type { TcpConnection } from "../ports.ts";

/** Open connections, to be closed when an address has become somebody else's. */
export class ConnectionsByAddress {
  readonly #connections = new Map<Ipv4, Set<TcpConnection>>();

  add(connection: TcpConnection): void {
    const { address } = connection.remote;
    const connections = this.#connections.get(address) ?? new Set();
    this.#connections.set(address, connections.add(connection));
    connection.onClose(() => {
      connections.delete(connection);
      if (connections.size === 0 && this.#connections.get(address) === connections) this.#connections.delete(address);
    });
  }

  close(address: Ipv4): void {
    for (const connection of this.#connections.get(address) ?? []) connection.close();
  }

  closeAll(): void {
    for (const connections of this.#connections.values()) for (const connection of connections) connection.close();
  }
}
