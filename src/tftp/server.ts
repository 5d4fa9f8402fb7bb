/**
 * The TFTP service: RFC 1350 section 4. Requests come in at one port; each transfer is carried by one of a few data
 * sockets with ports of their own, told apart by the client's address and port.
 * Left out: writing, and the netascii and mail modes. Boot firmware uses none of them.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX } from "../limits.ts";
import type {
  Awaitable,
  Clock,
  ReceivedDatagram,
  SendOptions,
  Timer,
  UdpBinding,
  UdpPeer,
  UdpSocket,
  UdpSockets,
} from "../ports.ts";
import type { TftpAnswer, TftpHandler, TftpRequest } from "./handler.ts";
import { PROGRESS_MS, type TftpObservation } from "./observation.ts";
import { agree } from "./options.ts";
import { decodePacket, ERROR_CODE, encodePacket, type TftpPacket } from "./packet.ts";
import { normalisePath } from "./path.ts";
import { Transfer, type TransferOutcome } from "./transfer.ts";

export type { TftpAnswer, TftpHandler, TftpRequest } from "./handler.ts";

export interface TftpServerOptions {
  sockets: UdpSockets;
  clock: Pick<Clock, "monotonicMs" | "after">;
  handler: TftpHandler;
  observe(observation: TftpObservation): void;
  /** Port 69 unless tests or an unprivileged run want another. */
  binding: UdpBinding;
  /** Default 1468: what one Ethernet frame carries. */
  blockBytesMax?: number;
  transfersMax?: number;
  transfersPerClientMax?: number;
}

export interface TftpServer {
  readonly localPort: number;
  readonly transferCount: number;
  /** Stops all transfers and closes the sockets. */
  close(): void;
}

/**
 * One data socket carries everything, so that many clients' packets fit into one system call. A client that starts its
 * next request from the port of its last one gets the other, so that late packets of the last transfer cannot be taken
 * for the next one's.
 */
const DATA_SOCKETS = 2;
const TICK_MS = 50;
const ETHERNET_BLOCK_BYTES = 1468;

/** Rejects with the operating system's error when the port cannot be had. */
export async function startTftpServer(options: TftpServerOptions): Promise<TftpServer> {
  const { sockets, binding } = options;
  const requests = await sockets.bind(binding);
  const bound = [requests];
  try {
    while (bound.length <= DATA_SOCKETS) bound.push(await sockets.bind({ ...binding, port: 0 }));
  } catch (error) {
    for (const socket of bound) socket.close();
    throw error;
  }
  return new Service(requests, bound.slice(1), options);
}

interface Running {
  transfer: Transfer;
  socket: UdpSocket;
  request: TftpRequest;
  requestBytes: Uint8Array;
  progressAtMs: number;
}

class Service implements TftpServer {
  readonly #requests: UdpSocket;
  readonly #data: UdpSocket[];
  readonly #options: TftpServerOptions;
  readonly #running = new Map<string, Running>();
  /** Requests whose file is being looked up. */
  readonly #opening = new Set<string>();
  readonly #countByClient = new Map<Ipv4, number>();
  /** Which data socket a client's port was last served from. */
  readonly #lastSocket = new Map<string, number>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(requests: UdpSocket, data: UdpSocket[], options: TftpServerOptions) {
    this.#requests = requests;
    this.#data = data;
    this.#options = options;
    requests.onDatagram((datagram) => this.#decode(datagram, (packet) => this.#onRequest(packet, datagram)));
    for (const socket of data) {
      socket.onDatagram((datagram) =>
        this.#decode(datagram, (packet) => this.#onTransferPacket(packet, datagram.from, socket)),
      );
    }
  }

  get localPort(): number {
    return this.#requests.localPort;
  }

  get transferCount(): number {
    return this.#running.size;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { transfer } of this.#running.values()) transfer.abort("The server is stopping");
    for (const socket of [this.#requests, ...this.#data]) socket.close();
  }

  #decode({ bytes, from }: ReceivedDatagram, act: (packet: TftpPacket) => void): void {
    let packet: TftpPacket;
    try {
      packet = decodePacket(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#options.observe({ kind: "malformed", client: from, reason: error.message });
      return;
    }
    act(packet);
  }

  #onRequest(packet: TftpPacket, datagram: ReceivedDatagram): void {
    if (packet.kind !== "readRequest" && packet.kind !== "writeRequest") return;
    const { from: client, localAddress } = datagram;
    const refuse = (reason: string) => this.#refuse({ path: packet.path, client }, reason, localAddress);
    const result = normalisePath(packet.path);
    if (packet.kind === "writeRequest") {
      refuse("files cannot be written");
    } else if (packet.mode.toLowerCase() !== "octet") {
      refuse(`only octet (binary) mode is served, not ${packet.mode}`);
    } else if ("refused" in result) {
      refuse(result.refused);
    } else {
      const request = { path: result.path, client, ...(localAddress && { localAddress }) };
      this.#onRead(request, packet.options, datagram.bytes);
    }
  }

  #onRead(request: TftpRequest, asked: ReadonlyMap<string, string>, requestBytes: Uint8Array): void {
    const { client } = request;
    const key = keyOf(client);
    if (this.#opening.has(key)) return;
    const running = this.#running.get(key);
    if (running) {
      const isSame = Buffer.compare(running.requestBytes, requestBytes) === 0;
      if (isSame && running.transfer.onRepeatedRequest()) return;
      // The client's port is on to its next file: whatever it was doing is over.
      running.transfer.onSuperseded();
    }
    const { observe, handler, transfersMax, transfersPerClientMax } = this.#options;
    observe({ kind: "request", path: request.path, client });
    const ofClient = this.#countByClient.get(client.address) ?? 0;
    const isFull = this.#running.size + this.#opening.size >= (transfersMax ?? TFTP_TRANSFERS_MAX);
    if (isFull || ofClient >= (transfersPerClientMax ?? TFTP_TRANSFERS_PER_CLIENT_MAX)) {
      this.#fail(
        request,
        isFull ? "too many transfers are running" : `${ofClient} transfers of this client are running`,
      );
      return;
    }
    this.#opening.add(key);
    this.#countByClient.set(client.address, ofClient + 1);
    settle(
      () => handler.open(request),
      (answer) => this.#onOpened(request, asked, requestBytes, answer),
      (reason) => {
        this.#forget(key, client);
        this.#fail(request, reason);
      },
    );
  }

  #onOpened(
    request: TftpRequest,
    asked: ReadonlyMap<string, string>,
    requestBytes: Uint8Array,
    answer: TftpAnswer,
  ): void {
    if (this.#isClosed) {
      if (answer.kind === "file") answer.close();
      return;
    }
    const key = keyOf(request.client);
    const { observe, clock, blockBytesMax = ETHERNET_BLOCK_BYTES } = this.#options;
    if (answer.kind !== "file") {
      this.#forget(key, request.client);
      if (answer.kind === "missing") {
        observe({ kind: "missing", path: request.path, client: request.client, reason: answer.reason });
        this.#sendError(request.client, ERROR_CODE.fileNotFound, "File not found", request.localAddress);
      } else {
        this.#refuse(request, answer.reason, request.localAddress);
      }
      return;
    }
    this.#opening.delete(key);
    const socket = this.#socketFor(key);
    const startedAtMs = clock.monotonicMs();
    const sendOptions: SendOptions = request.localAddress ? { localAddress: request.localAddress } : {};
    const transfer = new Transfer(answer, agree(asked, answer.sizeBytes, blockBytesMax), {
      clock,
      send: (bytes) => socket.send(bytes, request.client, sendOptions),
      onEnd: (outcome) => this.#onEnd(key, request, answer.sizeBytes, startedAtMs, transfer, outcome),
    });
    this.#running.set(key, { transfer, socket, request, requestBytes, progressAtMs: startedAtMs + PROGRESS_MS });
    this.#timer ??= clock.after(TICK_MS, () => this.#tick());
    transfer.start();
  }

  #onTransferPacket(packet: TftpPacket, from: UdpPeer, socket: UdpSocket): void {
    const running = this.#running.get(keyOf(from));
    // Nothing is answered to strangers: a late acknowledgement of a finished transfer is normal, and firmware that
    // has moved on to its next file must not meet an error about the last one.
    if (!running || running.socket !== socket) return;
    if (packet.kind === "acknowledge") {
      running.transfer.onAcknowledge(packet.block);
      this.#reportProgress(running);
    } else if (packet.kind === "error") {
      running.transfer.onError(packet.code, packet.message);
    }
  }

  #reportProgress(running: Running): void {
    const { transfer, request } = running;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < running.progressAtMs || !this.#running.has(keyOf(request.client))) return;
    running.progressAtMs = nowMs + PROGRESS_MS;
    const { sentBytes, sizeBytes } = transfer;
    this.#options.observe({ kind: "progress", path: request.path, client: request.client, sentBytes, sizeBytes });
  }

  #onEnd(
    key: string,
    { path, client }: TftpRequest,
    sizeBytes: number,
    startedAtMs: number,
    { retransmits }: Transfer,
    outcome: TransferOutcome,
  ): void {
    this.#running.delete(key);
    this.#forget(key, client);
    const { observe, clock } = this.#options;
    switch (outcome.kind) {
      case "complete": {
        const durationMs = clock.monotonicMs() - startedAtMs;
        observe({ kind: "complete", path, client, sizeBytes, durationMs, retransmits });
        break;
      }
      case "probed":
        observe({ kind: "probed", path, client, sizeBytes });
        break;
      case "failed":
        observe({ kind: "failed", path, client, reason: outcome.reason });
    }
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const { transfer } of this.#running.values()) if (nowMs >= transfer.deadlineMs) transfer.onTimer();
    const isIdle = this.#running.size === 0;
    this.#timer = isIdle ? undefined : this.#options.clock.after(TICK_MS, () => this.#tick());
  }

  #socketFor(key: string): UdpSocket {
    const index = ((this.#lastSocket.get(key) ?? -1) + 1) % this.#data.length;
    if (this.#lastSocket.size >= TFTP_TRANSFERS_MAX) this.#lastSocket.clear();
    this.#lastSocket.set(key, index);
    return this.#data[index]!;
  }

  #forget(key: string, client: UdpPeer): void {
    this.#opening.delete(key);
    const count = (this.#countByClient.get(client.address) ?? 1) - 1;
    if (count > 0) this.#countByClient.set(client.address, count);
    else this.#countByClient.delete(client.address);
  }

  #refuse({ path, client }: TftpRequest, reason: string, localAddress: Ipv4 | undefined): void {
    this.#options.observe({ kind: "refused", path, client, reason });
    this.#sendError(client, ERROR_CODE.accessViolation, reason, localAddress);
  }

  #fail({ path, client, localAddress }: TftpRequest, reason: string): void {
    this.#options.observe({ kind: "failed", path, client, reason });
    this.#sendError(client, ERROR_CODE.notDefined, reason, localAddress);
  }

  #sendError(client: UdpPeer, code: number, message: string, localAddress: Ipv4 | undefined): void {
    const bytes = encodePacket({ kind: "error", code, message });
    this.#data[0]!.send(bytes, client, localAddress ? { localAddress } : {});
  }
}

function keyOf({ address, port }: UdpPeer): string {
  return `${address}:${port}`;
}

/** Goes on at once when the answer is there at once. */
function settle<T>(run: () => Awaitable<T>, onValue: (value: T) => void, onReason: (reason: string) => void): void {
  const onError = (error: unknown) => onReason(error instanceof Error ? error.message : String(error));
  let result: Awaitable<T>;
  try {
    result = run();
  } catch (error) {
    onError(error);
    return;
  }
  if (result instanceof Promise) result.then(onValue, onError);
  else onValue(result);
}
