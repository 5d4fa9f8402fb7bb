/** A port that blocks leave from and acknowledgements come in at, for many clients at a time. */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { UdpPeer, UdpSocket } from "../ports.ts";
import type { TftpObservation } from "./observation.ts";
import { acknowledgedBlock, type TftpPacket } from "./packet.ts";
import { readPacket } from "./receive.ts";

export interface DataPortEnds {
  observe(observation: TftpObservation): void;
  onAcknowledge(block: number, from: UdpPeer): void;
  /** Any other packet. */
  onPacket(packet: TftpPacket, from: UdpPeer): void;
}

export class DataPort {
  readonly #socket: UdpSocket;
  readonly #ends: DataPortEnds;

  constructor(socket: UdpSocket, ends: DataPortEnds) {
    this.#socket = socket;
    this.#ends = ends;
    if (socket.bulk) socket.bulk.onDatagram((bytes, from) => this.#onDatagram(bytes, from));
    else socket.onDatagram(({ bytes, from }) => this.#onDatagram(bytes, from));
  }

  #onDatagram(bytes: Uint8Array, from: UdpPeer): void {
    const block = acknowledgedBlock(bytes);
    if (block !== undefined) {
      this.#ends.onAcknowledge(block, from);
      return;
    }
    const packet = readPacket(bytes, from, this.#ends.observe);
    if (packet) this.#ends.onPacket(packet, from);
  }

  /** `localAddress`: the source address, where the client asked one of several. */
  send(bytes: Uint8Array, to: UdpPeer, localAddress: Ipv4 | undefined): void {
    this.#socket.send(bytes, to, localAddress ? { localAddress } : {});
  }

  /** `body` must stay as it is until `flush`, or until this turn of the event loop is over. */
  sendBlock(head: Uint8Array, body: Uint8Array, to: UdpPeer, localAddress: Ipv4 | undefined): void {
    if (this.#socket.bulk) this.#socket.bulk.send(head, body, to, localAddress);
    else this.send(Buffer.concat([head, body]), to, localAddress);
  }

  flush(): void {
    this.#socket.bulk?.flush();
  }

  /** The network takes no more for now; `onRoom` tells when it does. */
  get isFull(): boolean {
    return this.#socket.bulk?.isFull() ?? false;
  }

  /** Bytes on their way to the network. */
  get queuedBytes(): number {
    return this.#socket.bulk?.queuedBytes() ?? 0;
  }

  onRoom(handler: () => void): void {
    this.#socket.bulk?.onRoom(handler);
  }

  close(): void {
    this.#socket.close();
  }
}
