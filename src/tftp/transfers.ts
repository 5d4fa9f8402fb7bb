/**
 * The transfers of a TFTP service: RFC 1350 section 4. Each is carried by one of a few data sockets with ports of their
 * own, told apart by the client's address and port.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX } from "../limits.ts";
import type { Awaitable, Clock, SendOptions, Timer, UdpBinding, UdpPeer, UdpSocket, UdpSockets } from "../ports.ts";
import { refusalPacket, type TftpAnswer, type TftpReadRequest, type TftpRefusal } from "./handler.ts";
import { PROGRESS_MS, type TftpObservation } from "./observation.ts";
import { agree, wishedBlockBytes } from "./options.ts";
import { encodePacket, type TftpPacket } from "./packet.ts";
import { receivePackets } from "./receive.ts";
import { Transfer, type TransferOutcome } from "./transfer.ts";

export interface TftpTransfersOptions {
  sockets: UdpSockets;
  clock: Pick<Clock, "monotonicMs" | "after">;
  observe(observation: TftpObservation): void;
  /** Where the data sockets are bound; their ports are any free ones. */
  binding: Omit<UdpBinding, "port">;
  /** Default 1468: what one Ethernet frame carries. */
  blockBytesMax?: number;
  transfersMax?: number;
  transfersPerClientMax?: number;
}

/**
 * One data socket carries everything, so that many clients' packets fit into one system call. A client that starts its
 * next request from the port of its last one gets the other, so that late packets of the last transfer cannot be taken
 * for the next one's.
 */
const DATA_SOCKETS = 2;
const TICK_MS = 50;
const ETHERNET_BLOCK_BYTES = 1468;

/** Rejects with the operating system's error when the sockets cannot be had; none stays open then. */
export async function openTftpTransfers(options: TftpTransfersOptions): Promise<TftpTransfers> {
  const { sockets, binding } = options;
  const data: UdpSocket[] = [];
  try {
    while (data.length < DATA_SOCKETS) data.push(await sockets.bind({ ...binding, port: 0 }));
  } catch (error) {
    for (const socket of data) socket.close();
    throw error;
  }
  return new TftpTransfers(data, options);
}

interface Running {
  transfer: Transfer;
  socket: UdpSocket;
  request: TftpReadRequest;
  progressAtMs: number;
}

export class TftpTransfers {
  readonly #data: UdpSocket[];
  readonly #options: TftpTransfersOptions;
  readonly #running = new Map<string, Running>();
  /** Requests whose file is being looked up. */
  readonly #opening = new Set<string>();
  readonly #countByClient = new Map<Ipv4, number>();
  /** Which data socket a client's port was last served from. */
  readonly #lastSocket = new Map<string, number>();
  #timer: Timer | undefined;
  #isClosed = false;

  /** Use `openTftpTransfers`. */
  constructor(data: UdpSocket[], options: TftpTransfersOptions) {
    this.#data = data;
    this.#options = options;
    for (const socket of data) {
      receivePackets(socket, options.observe, (packet, { from }) => this.#onPacket(packet, from, socket));
    }
  }

  /** How many are running. */
  get count(): number {
    return this.#running.size;
  }

  /** Stops them all and closes the sockets. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { transfer } of this.#running.values()) transfer.abort("The server is stopping");
    for (const socket of this.#data) socket.close();
  }

  /** Answers a request, which may be a repeated one, with the file that `open` finds. */
  begin(request: TftpReadRequest, open: () => Awaitable<TftpAnswer>): void {
    const { path, client } = request;
    const key = keyOf(client);
    if (this.#isClosed || this.#opening.has(key)) return;
    const running = this.#running.get(key);
    if (running) {
      const isSame = Buffer.compare(running.request.bytes, request.bytes) === 0;
      if (isSame && running.transfer.onRepeatedRequest()) return;
      // The client's port is on to its next file: whatever it was doing is over.
      running.transfer.onSuperseded();
    }
    const { observe, transfersMax, transfersPerClientMax } = this.#options;
    const blockBytes = wishedBlockBytes(request.options);
    observe({ kind: "request", path, client, ...(blockBytes !== undefined && { blockBytes }) });
    const ofClient = this.#countByClient.get(client.address) ?? 0;
    const isFull = this.#running.size + this.#opening.size >= (transfersMax ?? TFTP_TRANSFERS_MAX);
    if (isFull || ofClient >= (transfersPerClientMax ?? TFTP_TRANSFERS_PER_CLIENT_MAX)) {
      const reason = isFull ? "too many transfers are running" : `${ofClient} transfers of this client are running`;
      this.#refuse(request, { kind: "failed", reason });
      return;
    }
    this.#opening.add(key);
    this.#countByClient.set(client.address, ofClient + 1);
    settle(
      open,
      (answer) => this.#onOpened(request, answer),
      (reason) => {
        this.#forget(key, client);
        this.#refuse(request, { kind: "failed", reason });
      },
    );
  }

  #onOpened(request: TftpReadRequest, answer: TftpAnswer): void {
    if (this.#isClosed) {
      if (answer.kind === "file") answer.close();
      return;
    }
    const { client, localAddress } = request;
    const key = keyOf(client);
    const { clock, blockBytesMax = ETHERNET_BLOCK_BYTES } = this.#options;
    if (answer.kind !== "file") {
      this.#forget(key, client);
      this.#refuse(request, answer);
      return;
    }
    this.#opening.delete(key);
    const socket = this.#socketFor(key);
    const startedAtMs = clock.monotonicMs();
    const sendOptions: SendOptions = localAddress ? { localAddress } : {};
    const transfer = new Transfer(answer, agree(request.options, answer.sizeBytes, blockBytesMax), {
      clock,
      send: (bytes) => socket.send(bytes, client, sendOptions),
      onEnd: (outcome) => this.#onEnd(key, request, answer.sizeBytes, startedAtMs, transfer, outcome),
    });
    this.#running.set(key, { transfer, socket, request, progressAtMs: startedAtMs + PROGRESS_MS });
    this.#timer ??= clock.after(TICK_MS, () => this.#tick());
    transfer.start();
  }

  #onPacket(packet: TftpPacket, from: UdpPeer, socket: UdpSocket): void {
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
    { path, client }: TftpReadRequest,
    sizeBytes: number,
    startedAtMs: number,
    transfer: Transfer,
    outcome: TransferOutcome,
  ): void {
    this.#running.delete(key);
    this.#forget(key, client);
    const { observe, clock } = this.#options;
    switch (outcome.kind) {
      case "complete": {
        const durationMs = clock.monotonicMs() - startedAtMs;
        observe({ kind: "complete", path, client, sizeBytes, durationMs, retransmits: transfer.retransmits });
        break;
      }
      case "probed":
        observe({ kind: "probed", path, client, sizeBytes });
        break;
      case "failed":
        observe({ kind: "failed", path, client, reason: outcome.reason, progress: transfer.progress });
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

  #refuse({ path, client, localAddress }: TftpReadRequest, refusal: TftpRefusal): void {
    this.#options.observe({ kind: refusal.kind, path, client, reason: refusal.reason });
    this.#data[0]!.send(encodePacket(refusalPacket(refusal)), client, localAddress ? { localAddress } : {});
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
