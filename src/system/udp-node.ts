/**
 * UDP by node:dgram, for systems where the Linux calls cannot be had. What is lost: `interfaceName` (the socket hears
 * all interfaces), `localAddress` in both directions (the routing table chooses), and `hardwareAddress` (the datagram is
 * broadcast, which every firmware but the Pi 3B's takes well).
 */
import dgram from "node:dgram";
import { once } from "node:events";
import { IPV4_BROADCAST, type Ipv4 } from "../bytes/addresses.ts";
import type { ReceivedDatagram, SendOptions, UdpBinding, UdpPeer, UdpSocket, UdpSockets } from "../ports.ts";
import { bindError } from "./bind-error.ts";

export function nodeUdpSockets(): UdpSockets {
  return { bind };
}

async function bind(binding: UdpBinding): Promise<UdpSocket> {
  const socket = dgram.createSocket({ type: "udp4", reuseAddr: binding.shared ?? false });
  socket.bind({ address: binding.address, port: binding.port, exclusive: true });
  try {
    await once(socket, "listening");
  } catch (error) {
    throw bindError("udp", binding, (error as NodeJS.ErrnoException).code ?? String(error));
  }
  socket.setBroadcast(binding.broadcast ?? false);
  // Errors after this are of single datagrams, which UDP may lose anyway.
  socket.on("error", () => {});
  return new NodeUdpSocket(socket);
}

class NodeUdpSocket implements UdpSocket {
  readonly #socket: dgram.Socket;
  readonly localPort: number;
  #isOpen = true;

  constructor(socket: dgram.Socket) {
    this.#socket = socket;
    this.localPort = socket.address().port;
  }

  onDatagram(handler: (datagram: ReceivedDatagram) => void): void {
    this.#socket.removeAllListeners("message");
    this.#socket.on("message", (bytes, { address, port }) =>
      handler({ bytes, from: { address: address as Ipv4, port } }),
    );
  }

  send(bytes: Uint8Array, to: UdpPeer, { hardwareAddress }: SendOptions = {}): void {
    // Port 0 is what a forged datagram came from. The kernel would refuse it; dgram throws.
    if (!this.#isOpen || to.port === 0) return;
    // A copy: dgram sends later, and the caller may use its buffer again.
    this.#socket.send(Buffer.from(bytes), to.port, hardwareAddress ? IPV4_BROADCAST : to.address, () => {});
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#socket.close();
  }
}
