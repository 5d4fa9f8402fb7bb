import { createServer, type Socket } from "node:net";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { TcpConnection, TcpListeners } from "../ports.ts";
import { bindError } from "./bind-error.ts";

/** How long `close` waits for peers to go before it drops them. */
const CLOSE_WAIT_MS = 200;

/** TCP by `node:net`. Keep-alive tells us of a node whose power was pulled. */
export const nodeTcpListeners: TcpListeners = {
  async listen(binding, onConnection) {
    const open = new Set<Socket>();
    const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }, (socket) => {
      open.add(socket);
      socket.once("close", () => open.delete(socket));
      // An error is always followed by "close", which is what the user of the connection hears.
      socket.on("error", () => {});
      onConnection(connectionOf(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        reject(error.code === undefined ? error : bindError("tcp", binding, error.code)),
      );
      server.listen(binding.port, binding.address, () => {
        server.removeAllListeners("error");
        // Of a single connection that could not be accepted (out of memory): the peer will try again.
        server.on("error", () => {});
        resolve();
      });
    });
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("Cannot tell the port of a TCP listener");
    return {
      localPort: address.port,
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          for (const socket of open) socket.end();
          setTimeout(() => {
            for (const socket of open) socket.destroy();
          }, CLOSE_WAIT_MS).unref();
        }),
    };
  },
};

function connectionOf(socket: Socket): TcpConnection {
  return {
    remote: { address: withoutIpv6Prefix(socket.remoteAddress), port: socket.remotePort ?? 0 },
    localAddress: withoutIpv6Prefix(socket.localAddress),
    write: (bytes) => (socket.destroyed ? false : socket.write(bytes)),
    onData: (handler) => void socket.on("data", handler),
    onDrain: (handler) => void socket.on("drain", handler),
    onClose: (handler) => void socket.once("close", handler),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => void socket.destroy(),
  };
}

function withoutIpv6Prefix(address: string | undefined): Ipv4 {
  return (address ?? "0.0.0.0").replace(/^::ffff:/, "") as Ipv4;
}
