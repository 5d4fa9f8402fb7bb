/**
 * The port that TFTP requests come in at: RFC 1350 section 4. What cannot be served is refused here; a read request goes
 * on to whoever runs the transfer, in this process or another.
 * Left out: writing, and the netascii and mail modes. Boot firmware uses none of them.
 */
import { TFTP_TRANSFERS_MAX } from "../limits.ts";
import type { Awaitable, ReceivedDatagram, UdpBinding, UdpSocket, UdpSockets } from "../ports.ts";
import { refusalPacket, type TftpReadRequest, type TftpRefusal, type TftpRequest } from "./handler.ts";
import type { TftpObservation } from "./observation.ts";
import { encodePacket, type TftpPacket } from "./packet.ts";
import { normalisePath } from "./path.ts";
import { readPacket } from "./receive.ts";

export interface TftpListenerOptions {
  sockets: UdpSockets;
  /** Port 69 unless tests or an unprivileged run want another. */
  binding: UdpBinding;
  /** Takes a request over, or tells why nobody does. While a promise is out, the client's repetitions are dropped. */
  accept(request: TftpReadRequest): Awaitable<TftpRefusal | undefined>;
  observe(observation: TftpObservation): void;
}

/** Rejects with the operating system's error when the port cannot be had. */
export async function startTftpListener(options: TftpListenerOptions): Promise<TftpListener> {
  const { sockets, binding } = options;
  const requests = await sockets.bind(binding);
  try {
    return new TftpListener(requests, await sockets.bind({ ...binding, port: 0 }), options);
  } catch (error) {
    requests.close();
    throw error;
  }
}

export class TftpListener {
  readonly #requests: UdpSocket;
  /** Refusals leave from a port of their own, as transfers do. */
  readonly #refusals: UdpSocket;
  readonly #options: TftpListenerOptions;
  /** Clients of whom it is not known yet who answers them. */
  readonly #undecided = new Set<string>();
  #isClosed = false;

  /** Use `startTftpListener`. */
  constructor(requests: UdpSocket, refusals: UdpSocket, options: TftpListenerOptions) {
    this.#requests = requests;
    this.#refusals = refusals;
    this.#options = options;
    requests.onDatagram((datagram) => {
      const packet = readPacket(datagram.bytes, datagram.from, options.observe);
      if (packet) this.#onPacket(packet, datagram);
    });
  }

  get localPort(): number {
    return this.#requests.localPort;
  }

  close(): void {
    this.#isClosed = true;
    this.#requests.close();
    this.#refusals.close();
  }

  #onPacket(packet: TftpPacket, { bytes, from: client, localAddress }: ReceivedDatagram): void {
    if (packet.kind !== "readRequest" && packet.kind !== "writeRequest") return;
    const asked = { client, ...(localAddress && { localAddress }) };
    const refuse = (reason: string) => this.#refuse({ path: packet.path, ...asked }, { kind: "refused", reason });
    const result = normalisePath(packet.path);
    if (packet.kind === "writeRequest") refuse("files cannot be written");
    else if (packet.mode.toLowerCase() !== "octet") {
      refuse(`only octet (binary) mode is served, not ${packet.mode}`);
    } else if ("refused" in result) refuse(result.refused);
    else this.#onRead({ path: result.path, ...asked, options: packet.options, bytes });
  }

  #onRead(request: TftpReadRequest): void {
    const key = `${request.client.address}:${request.client.port}`;
    if (this.#undecided.has(key) || this.#undecided.size >= TFTP_TRANSFERS_MAX) return;
    const refusal = this.#options.accept(request);
    if (!(refusal instanceof Promise)) {
      if (refusal) this.#refuse(request, refusal);
      return;
    }
    this.#undecided.add(key);
    void refusal
      .catch((error: Error): TftpRefusal => ({ kind: "failed", reason: error.message }))
      .then((decided) => {
        this.#undecided.delete(key);
        if (decided && !this.#isClosed) this.#refuse(request, decided);
      });
  }

  #refuse({ path, client, localAddress }: TftpRequest, refusal: TftpRefusal): void {
    this.#options.observe({ ...refusal, path, client });
    this.#refusals.send(encodePacket(refusalPacket(refusal)), client, localAddress ? { localAddress } : {});
  }
}
