/**
 * The transfers of a TFTP service: RFC 1350 section 4. Each is carried by one of a few data sockets with ports of their
 * own, told apart by the client's address and port.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX } from "../limits.ts";
import type { Awaitable, Clock, Timer, UdpBinding, UdpPeer, UdpSocket, UdpSockets } from "../ports.ts";
import { WAITING_BLOCK_MS } from "./admission.ts";
import { DataPort } from "./data-port.ts";
import { refusalPacket, settle, type TftpAnswer, type TftpReadRequest, type TftpRefusal } from "./handler.ts";
import { PROGRESS_MS, type TftpObservation } from "./observation.ts";
import { agree, wishedBlockBytes } from "./options.ts";
import { encodePacket, type TftpPacket } from "./packet.ts";
import { ReadAheadMemory } from "./read-ahead.ts";
import { SendOrder } from "./send-order.ts";
import { Transfer, type TransferOutcome } from "./transfer.ts";
import { type Guest, WaitingRoom } from "./waiting-room.ts";

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
  /** Which part of the time since it was last asked this process was busy, 0 to 1. */
  busyPart?(): number;
}

/**
 * One data socket carries everything, so that many clients' packets fit into one system call. A client that starts its
 * next request from the port of its last one gets the other, so that late packets of the last transfer cannot be taken
 * for the next one's.
 */
const DATA_SOCKETS = 2;
/** The shortest interval of retransmission is two of it. */
const TICK_MS = 10;
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

interface Running extends Guest {
  transfer: Transfer;
  lane: Lane;
  request: TftpReadRequest;
  progressAtMs: number;
}

/** A data socket, and who waits for it. */
interface Lane {
  port: DataPort;
  order: SendOrder;
}

export class TftpTransfers {
  readonly #lanes: Lane[];
  readonly #options: TftpTransfersOptions;
  readonly #memory = new ReadAheadMemory();
  /** By the client's address and port. */
  readonly #running = new Map<Ipv4, Map<number, Running>>();
  readonly #all = new Set<Running>();
  readonly #waitingRoom: WaitingRoom;
  /** Requests whose file is being looked up. */
  readonly #opening = new Set<string>();
  readonly #countByClient = new Map<Ipv4, number>();
  /** Which lane a client's port was last served by. */
  readonly #lastLane = new Map<string, number>();
  #timer: Timer | undefined;
  #isClosed = false;

  /** Use `openTftpTransfers`. */
  constructor(data: UdpSocket[], options: TftpTransfersOptions) {
    this.#options = options;
    const { observe, clock } = options;
    this.#waitingRoom = new WaitingRoom({
      nowMs: clock.monotonicMs(),
      queuedBytes: () => this.#lanes.reduce((sum, { port }) => sum + port.queuedBytes, 0),
      busyPart: options.busyPart ?? (() => 0),
    });
    this.#lanes = data.map((socket) => {
      const port: DataPort = new DataPort(socket, {
        observe,
        onAcknowledge: (block, from) => this.#onAcknowledge(block, from, port),
        onPacket: (packet, from) => this.#onPacket(packet, from, port),
      });
      const order = new SendOrder(port);
      port.onRoom(() => order.goOn(clock.monotonicMs()));
      return { port, order };
    });
  }

  /** How many are running. */
  get count(): number {
    return this.#all.size;
  }

  /** Stops them all and closes the sockets. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { transfer } of this.#all) transfer.abort("The server is stopping");
    for (const { port } of this.#lanes) port.close();
  }

  /** Answers a request, which may be a repeated one, with the file that `open` finds. */
  begin(request: TftpReadRequest, open: () => Awaitable<TftpAnswer>): void {
    const { path, client } = request;
    const key = keyOf(client);
    if (this.#isClosed || this.#opening.has(key)) return;
    const running = this.#runningOf(client);
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
    const isFull = this.#all.size + this.#opening.size >= (transfersMax ?? TFTP_TRANSFERS_MAX);
    if (isFull || ofClient >= (transfersPerClientMax ?? TFTP_TRANSFERS_PER_CLIENT_MAX)) {
      const reason = isFull ? "too many transfers are running" : `${ofClient} transfers of this client are running`;
      this.#refuse(request, { kind: "failed", reason, cause: "too-many-transfers" });
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
    const lane = this.#laneFor(key);
    const { port, order } = lane;
    const transfer: Transfer = new Transfer(answer, agree(request.options, answer.sizeBytes, blockBytesMax), {
      clock,
      memory: this.#memory,
      send: (bytes) => port.send(bytes, client, localAddress),
      sendBlock: (head, body) => {
        this.#waitingRoom.sent(body.length);
        port.sendBlock(head, body, client, localAddress);
      },
      // Memory goes from transfer to transfer, whatever their lanes.
      flush: () => {
        for (const each of this.#lanes) each.port.flush();
      },
      askForTurn: () => this.#waitingRoom.askForTurn(running, clock.monotonicMs()),
      onEnd: (outcome) => this.#onEnd(running, outcome),
    });
    const { sizeBytes, startedAtMs } = transfer;
    const { early, agreed } = WAITING_BLOCK_MS;
    const running: Running = {
      ...{ transfer, lane, request },
      progressAtMs: startedAtMs + PROGRESS_MS,
      load: { client: client.address, sizeBytes, startedAtMs },
      waitingBlockMs: wishedBlockBytes(request.options) === undefined ? early : agreed,
      goOn: (nowMs) => order.add(transfer, nowMs),
    };
    this.#add(running);
    this.#timer ??= clock.after(TICK_MS, () => this.#tick());
    transfer.start();
  }

  /**
   * Nothing is answered to strangers: a late acknowledgement of a finished transfer is normal, and firmware that has moved on
   * to its next file must not meet an error about the last one.
   */
  #onAcknowledge(block: number, from: UdpPeer, port: DataPort): void {
    const running = this.#runningOf(from);
    if (running?.lane.port !== port) return;
    const nowMs = this.#options.clock.monotonicMs();
    running.transfer.onAcknowledge(block, nowMs);
    if (nowMs >= running.progressAtMs && this.#all.has(running)) this.#reportProgress(running, nowMs);
  }

  #onPacket(packet: TftpPacket, from: UdpPeer, port: DataPort): void {
    const running = this.#runningOf(from);
    if (running?.lane.port !== port) return;
    if (packet.kind === "error") running.transfer.onError(packet.code, packet.message);
  }

  #reportProgress(running: Running, nowMs: number): void {
    running.progressAtMs = nowMs + PROGRESS_MS;
    const { sentBytes, sizeBytes } = running.transfer;
    const { path, client } = running.request;
    this.#options.observe({ kind: "progress", path, client, sentBytes, sizeBytes });
  }

  #runningOf({ address, port }: UdpPeer): Running | undefined {
    return this.#running.get(address)?.get(port);
  }

  #add(running: Running): void {
    const { address, port } = running.request.client;
    const ofClient = this.#running.get(address) ?? new Map<number, Running>();
    this.#running.set(address, ofClient.set(port, running));
    this.#all.add(running);
  }

  #remove(running: Running): void {
    const { address, port } = running.request.client;
    const ofClient = this.#running.get(address);
    ofClient?.delete(port);
    if (ofClient?.size === 0) this.#running.delete(address);
    this.#all.delete(running);
    this.#waitingRoom.remove(running);
    running.lane.order.remove(running.transfer);
  }

  #onEnd(running: Running, outcome: TransferOutcome): void {
    const { path, client } = running.request;
    const { sizeBytes, startedAtMs, retransmits } = running.transfer;
    this.#remove(running);
    this.#forget(keyOf(client), client);
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
        observe({ ...outcome, path, client, progress: running.transfer.progress });
    }
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#waitingRoom.tick(this.#all, nowMs);
    for (const { transfer } of this.#all) if (nowMs >= transfer.deadlineMs) transfer.onTimer();
    const isIdle = this.#all.size === 0;
    this.#timer = isIdle ? undefined : this.#options.clock.after(TICK_MS, () => this.#tick());
  }

  #laneFor(key: string): Lane {
    const index = ((this.#lastLane.get(key) ?? -1) + 1) % this.#lanes.length;
    if (this.#lastLane.size >= TFTP_TRANSFERS_MAX) this.#lastLane.clear();
    this.#lastLane.set(key, index);
    return this.#lanes[index]!;
  }

  #forget(key: string, client: UdpPeer): void {
    this.#opening.delete(key);
    const count = (this.#countByClient.get(client.address) ?? 1) - 1;
    if (count > 0) this.#countByClient.set(client.address, count);
    else this.#countByClient.delete(client.address);
  }

  #refuse({ path, client, localAddress }: TftpReadRequest, refusal: TftpRefusal): void {
    this.#options.observe({ ...refusal, path, client });
    this.#lanes[0]!.port.send(encodePacket(refusalPacket(refusal)), client, localAddress);
  }
}

function keyOf({ address, port }: UdpPeer): string {
  return `${address}:${port}`;
}
