/**
 * A virtual Pi's serial console in the file system: a log of all it wrote, and a Unix socket to watch and type on
 * (`socat -,raw,echo=0 unix:node1.sock`).
 */
import { createWriteStream, mkdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

export interface ConsoleSocket {
  readonly logPath: string;
  readonly socketPath: string;
  write(bytes: Uint8Array): void;
  onInput(handler: (text: string) => void): void;
  close(): void;
}

/** Who looks in sees this much of what was written before. */
const BACKLOG_BYTES = 16 * 1024;

export async function openConsoleSocket(folder: string, name: string): Promise<ConsoleSocket> {
  mkdirSync(folder, { recursive: true });
  const logPath = join(folder, `${name}.log`);
  const socketPath = join(folder, `${name}.sock`);
  // A log that cannot be written (disk full) must not stop the Pi.
  const log = createWriteStream(logPath).on("error", () => {});
  const watchers = new Set<Socket>();
  let backlog = Buffer.alloc(0);
  let onInput: (text: string) => void = () => {};

  const server = createServer((socket) => {
    watchers.add(socket);
    socket.write(backlog);
    socket.setEncoding("utf8").on("data", (text: string) => onInput(text));
    socket.on("error", () => {});
    socket.on("close", () => watchers.delete(socket));
  });
  rmSync(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });

  return {
    logPath,
    socketPath,
    write(bytes) {
      log.write(bytes);
      backlog = Buffer.concat([backlog, bytes]).subarray(-BACKLOG_BYTES);
      for (const socket of watchers) socket.write(bytes);
    },
    onInput(handler) {
      onInput = handler;
    },
    close() {
      for (const socket of watchers) socket.destroy();
      server.close();
      log.end();
    },
  };
}
