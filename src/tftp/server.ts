/**
 * A whole TFTP service in one process: the port that requests come in at, and the transfers. RFC 1350 section 4.
 */
import type { UdpBinding } from "../ports.ts";
import type { TftpHandler } from "./handler.ts";
import { startTftpListener } from "./listener.ts";
import { openTftpTransfers, type TftpTransfersOptions } from "./transfers.ts";

export type { TftpAnswer, TftpHandler, TftpRequest } from "./handler.ts";

export interface TftpServerOptions extends Omit<TftpTransfersOptions, "binding"> {
  handler: TftpHandler;
  /** Port 69 unless tests or an unprivileged run want another. */
  binding: UdpBinding;
}

export interface TftpServer {
  readonly localPort: number;
  readonly transferCount: number;
  /** Stops all transfers and closes the sockets. */
  close(): void;
}

/** Rejects with the operating system's error when the port cannot be had. */
export async function startTftpServer(options: TftpServerOptions): Promise<TftpServer> {
  const { sockets, binding, observe, handler } = options;
  const transfers = await openTftpTransfers(options);
  try {
    const listener = await startTftpListener({
      sockets,
      binding,
      observe,
      accept: (request) => void transfers.begin(request, () => handler.open(request)),
    });
    return {
      localPort: listener.localPort,
      get transferCount() {
        return transfers.count;
      },
      close() {
        transfers.close();
        listener.close();
      },
    };
  } catch (error) {
    transfers.close();
    throw error;
  }
}
