/**
 * Virtual Pis of an ordinary user, against a manager on this machine's loopback: frames in and out on their side, UDP
 * sockets on the manager's. Every Pi's address is a loopback address, so its packets can be sent from it without rights.
 *
 * The manager serves `interface: lo` with `dhcp: server`, at any ports. What is lost: everything that is neither UDP nor ARP,
 * and who a DHCP answer is for. Loopback has no hardware addresses, so all Pis hear all answers, as from a server that
 * broadcasts: several 3Bs need a real network.
 */
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4, type Mac, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Clock, EthernetPort, Timer, UdpSocket, UdpSockets } from "../ports.ts";
import { type ArpMessage, decodeFrame, encodeArp, encodeUdp, MAC_BROADCAST, type UdpMessage } from "./frames.ts";

export interface LoopbackSettings {
  sockets: UdpSockets;
  clock: Pick<Clock, "after">;
  /** Where the manager is, and at which ports it listens; it answers DHCP to the port after its own. */
  manager: { address: Ipv4; dhcpPort: number; tftpPort: number };
  /** A socket could not be had: why. */
  onWarning(message: string): void;
}

export interface LoopbackNetwork {
  plug(): EthernetPort;
  close(): void;
}

const LOOPBACK_INTERFACE = "lo";
/** Of everybody whom a Pi asks for. Locally administered, so nobody's. */
const GATEWAY_MAC = parseMac("02:00:5e:00:00:05");
const PORT = { dhcpServer: 67, dhcpClient: 68, tftp: 69 };
/** Longer than any pause in a transfer. */
const SOCKET_IDLE_MS = 60_000;

/** Rejects with the operating system's error when the port for DHCP answers cannot be had. */
export async function openLoopbackNetwork(settings: LoopbackSettings): Promise<LoopbackNetwork> {
  const { sockets, manager } = settings;
  const ports = new Set<LoopbackPort>();
  const dhcp = await sockets.bind({
    // Answers are broadcast: a socket bound to one address would not hear them.
    address: IPV4_ANY,
    port: manager.dhcpPort + 1,
    broadcast: true,
    // The manager listens there, too, for what other servers broadcast.
    shared: true,
    interfaceName: LOOPBACK_INTERFACE,
  });
  dhcp.onDatagram(({ bytes }) => {
    for (const port of ports) port.deliverDhcp(bytes);
  });
  return {
    plug() {
      const port = new LoopbackPort(settings, dhcp, () => ports.delete(port));
      ports.add(port);
      return port;
    },
    close() {
      for (const port of ports) port.close();
      dhcp.close();
    },
  };
}

/** One Pi's card. Its transfers each have a socket at the Pi's own address and port. */
class LoopbackPort implements EthernetPort {
  readonly #settings: LoopbackSettings;
  readonly #dhcp: UdpSocket;
  readonly #onClose: () => void;
  readonly #transfers = new Map<string, { socket: Promise<UdpSocket | undefined>; idle: Timer }>();
  #handler: (frame: Uint8Array) => void = () => {};
  #mac: Mac = MAC_BROADCAST;
  #isOpen = true;

  constructor(settings: LoopbackSettings, dhcp: UdpSocket, onClose: () => void) {
    this.#settings = settings;
    this.#dhcp = dhcp;
    this.#onClose = onClose;
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    try {
      const decoded = decodeFrame(frame);
      this.#mac = decoded.source;
      if (decoded.kind === "arp") this.#answerArp(decoded);
      if (decoded.kind === "udp") this.#sendUdp(decoded);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  deliverDhcp(bytes: Uint8Array): void {
    const from = { address: this.#settings.manager.address, port: PORT.dhcpServer };
    const to = { address: IPV4_BROADCAST, port: PORT.dhcpClient };
    this.#deliver(encodeUdp({ sourceMac: GATEWAY_MAC, from, to, bytes }, MAC_BROADCAST));
  }

  close(): void {
    this.#isOpen = false;
    this.#onClose();
    for (const key of [...this.#transfers.keys()]) this.#forget(key);
  }

  #deliver(frame: Uint8Array): void {
    if (this.#isOpen) this.#handler(frame);
  }

  #answerArp(asked: ArpMessage): void {
    if (asked.operation !== "request") return;
    const answer = {
      operation: "reply",
      senderMac: GATEWAY_MAC,
      senderAddress: asked.targetAddress,
      targetMac: asked.senderMac,
      targetAddress: asked.senderAddress,
    } as const;
    this.#deliver(encodeArp(answer, asked.senderMac));
  }

  #sendUdp({ from, to, bytes }: UdpMessage): void {
    const { address, dhcpPort, tftpPort } = this.#settings.manager;
    if (to.port === PORT.dhcpServer) {
      this.#dhcp.send(bytes, { address, port: dhcpPort });
      return;
    }
    const peer = { address: to.address, port: to.port === PORT.tftp ? tftpPort : to.port };
    void this.#socketOf(from).then((socket) => socket?.send(bytes, peer));
  }

  /** A socket that sends from there, and hands on what comes back. */
  #socketOf(own: { address: Ipv4; port: number }): Promise<UdpSocket | undefined> {
    const key = `${own.address}:${own.port}`;
    const known = this.#transfers.get(key);
    known?.idle.cancel();
    const idle = this.#settings.clock.after(SOCKET_IDLE_MS, () => this.#forget(key));
    const socket = known?.socket ?? this.#bind(own);
    this.#transfers.set(key, { socket, idle });
    return socket;
  }

  async #bind(own: { address: Ipv4; port: number }): Promise<UdpSocket | undefined> {
    try {
      const socket = await this.#settings.sockets.bind(own);
      socket.onDatagram(({ bytes, from }) => {
        this.#deliver(encodeUdp({ sourceMac: GATEWAY_MAC, from, to: own, bytes }, this.#mac));
      });
      return socket;
    } catch (error) {
      this.#settings.onWarning((error as Error).message);
      return undefined;
    }
  }

  #forget(key: string): void {
    const known = this.#transfers.get(key);
    this.#transfers.delete(key);
    known?.idle.cancel();
    void known?.socket.then((socket) => socket?.close());
  }
}
