import type { ChildProcess, Serializable } from "node:child_process";
import { createServer, type Socket } from "node:net";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { FileRange, TcpConnection, TcpListener, TcpListeners, UdpPeer } from "../ports.ts";
import { bindError } from "./bind-error.ts";
import { setReadMinimum } from "./read-minimum.ts";
import { sendFileNow } from "./send-file.ts";

/** How long `close` waits for peers to go before it drops them. */
const CLOSE_WAIT_MS = 200;

/** A connection of which nothing was read yet, so that another process can have it. */
export interface AcceptedConnection {
  readonly remote: UdpPeer;
  /** To be read from here. */
  open(): TcpConnection;
  /**
   * Sends it to another process, beside a message. It stays open here too, so that it is not lost with a process that ends
   * before it has it: close it when that one says so, or is gone.
   */
  handOver(process: ChildProcess, message: Serializable): void;
  /** Ends it, unless another process has it. */
  close(): void;
}

/** TCP by `node:net`. Keep-alive tells us of a node whose power was pulled. */
export const nodeTcpListeners: TcpListeners = {
  listen: (binding, onConnection) => listenTcp(binding, (accepted) => onConnection(accepted.open())),
};

/** Rejects with `BindError`. `close` ends the connections that were not handed on. */
export async function listenTcp(
  binding: { address: Ipv4; port: number },
  onAccepted: (accepted: AcceptedConnection) => void,
): Promise<TcpListener> {
  const open = new Set<Socket>();
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, pauseOnConnect: true };
  const server = createServer(options, (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    onAccepted(acceptedFrom(socket, peerOf(socket)));
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
        // The port is free at once. The callback would also wait for connections that other processes have now.
        server.close();
        if (open.size === 0) return resolve();
        const drop = setTimeout(() => {
          for (const socket of open) socket.destroy();
        }, CLOSE_WAIT_MS);
        for (const socket of open) {
          socket.once("close", () => {
            if (open.size > 0) return;
            clearTimeout(drop);
            resolve();
          });
          socket.end();
          // One that nobody has read from does not hear that its peer is gone.
          socket.resume();
        }
      }),
  };
}

/** A connection that was accepted here, or in another process, which knew its peer. */
export function acceptedFrom(socket: Socket, remote: UdpPeer): AcceptedConnection {
  // An error is always followed by "close", which is what the user of the connection hears.
  socket.on("error", () => {});
  return {
    remote,
    open: () => connectionOf(socket, remote),
    handOver(process, message) {
      process.send(message, socket, { keepOpen: true }, (error) => void (error && socket.destroy()));
    },
    close: () => void socket.destroy(),
  };
}

function peerOf({ remoteAddress, remotePort }: Socket): UdpPeer {
  return { address: withoutIpv6Prefix(remoteAddress), port: remotePort ?? 0 };
}

function connectionOf(socket: Socket, remote: UdpPeer): TcpConnection {
  return {
    remote,
    localAddress: withoutIpv6Prefix(socket.localAddress),
    write: (bytes) => (socket.destroyed ? false : socket.write(bytes)),
    writeFile: (head, range) => writeFile(socket, head, range),
    get pendingBytes() {
      return socket.writableLength;
    },
    // It was accepted paused, and nothing may be read before there is somebody to have it.
    onData: (handler) => void socket.on("data", handler).resume(),
    onDrain: (handler) => void socket.on("drain", handler),
    onClose: (handler) => void (socket.closed ? queueMicrotask(handler) : socket.once("close", handler)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    setReadMinimum: (countBytes) => setReadMinimum(socket, countBytes),
    close: () => void socket.destroy(),
  };
}

/** Sends what the kernel takes at once from its own memory, and the rest as `write` does. */
function writeFile(socket: Socket, head: Uint8Array, range: FileRange): boolean {
  if (socket.destroyed) return false;
  const sentBytes = sendNow(socket, head, range);
  const restBytes = head.length + range.lengthBytes - sentBytes;
  if (restBytes === 0) return true;
  const rest = Buffer.allocUnsafe(restBytes);
  const headRest = head.subarray(sentBytes);
  rest.set(headRest);
  if (readRest(range, rest.subarray(headRest.length))) return socket.write(rest);
  socket.destroy();
  return false;
}

/** How many bytes went. None where any wait in the stream, which come before them. */
function sendNow(socket: Socket, head: Uint8Array, { file, offset, lengthBytes }: FileRange): number {
  const descriptor = (socket as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  if (descriptor < 0 || file.descriptor === undefined || !socket.writable || socket.writableLength > 0) return 0;
  return sendFileNow(descriptor, head, file.descriptor, offset, lengthBytes);
}

function readRest({ file, offset, lengthBytes }: FileRange, target: Uint8Array): boolean {
  const at = offset + lengthBytes - target.length;
  try {
    if (!file.readNow(target, at)) file.readSync(target, at);
    return true;
  } catch {
    return false;
  }
}

function withoutIpv6Prefix(address: string | undefined): Ipv4 {
  return (address ?? "0.0.0.0").replace(/^::ffff:/, "") as Ipv4;
}
