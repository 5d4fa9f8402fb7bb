/**
 * The DHCP service on one interface: datagram → packet → responder → packet → datagram, and an observation for each
 * step. A lease is saved before the answer that promises it is sent.
 */
import { IPV4_ANY } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Clock, ReceivedDatagram, UdpSocket, UdpSockets } from "../ports.ts";
import { leaseResponder } from "./lease.ts";
import type { DhcpObservation } from "./observation.ts";
import { OPTIONS, readOption } from "./options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "./packet.ts";
import {
  type DhcpClient,
  type DhcpClientFacts,
  type DhcpDecision,
  type DhcpPolicy,
  type DhcpResponder,
  type DhcpSettings,
  type LeaseStore,
  readClientFacts,
} from "./policy.ts";
import { proxyResponder } from "./proxy.ts";
import { DHCP_PORTS, type DhcpPorts, replyDestination } from "./reply-destination.ts";

export interface DhcpServerOptions {
  sockets: UdpSockets;
  clock: Pick<Clock, "unixMs">;
  settings: DhcpSettings;
  policy: DhcpPolicy;
  /** Server mode only. Without it leases are forgotten at the end of the process. */
  leaseStore?: LeaseStore;
  observe(observation: DhcpObservation): void;
  interfaceName?: string;
  ports?: DhcpPorts;
}

export interface DhcpServer {
  readonly localPort: number;
  close(): void;
}

/** Rejects with the operating system's error when the port cannot be had, or the lease store's. */
export async function startDhcpServer(options: DhcpServerOptions): Promise<DhcpServer> {
  const { sockets, settings, policy, leaseStore, interfaceName, ports = DHCP_PORTS } = options;
  const responder =
    settings.mode === "proxy"
      ? proxyResponder(settings)
      : leaseResponder(settings, policy, (await leaseStore?.load()) ?? []);
  const socket = await sockets.bind({
    // Not the server's own address: a socket bound to one address hears no broadcasts.
    address: IPV4_ANY,
    port: ports.server,
    broadcast: true,
    ...(interfaceName !== undefined && { interfaceName }),
  });
  const service = new DhcpService(socket, responder, { ...options, ports });
  socket.onDatagram((datagram) => service.onDatagram(datagram));
  return { localPort: socket.localPort, close: () => socket.close() };
}

type ServiceOptions = DhcpServerOptions & { ports: DhcpPorts };

class DhcpService {
  readonly #socket: UdpSocket;
  readonly #responder: DhcpResponder;
  readonly #options: ServiceOptions;

  constructor(socket: UdpSocket, responder: DhcpResponder, options: ServiceOptions) {
    this.#socket = socket;
    this.#responder = responder;
    this.#options = options;
  }

  onDatagram({ bytes, from }: ReceivedDatagram): void {
    try {
      const packet = decodePacket(bytes);
      // Other servers' answers, broadcast, reach this port only by mistake.
      if (packet.op === "request") this.#onRequest(packet);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#options.observe({ kind: "malformed", from, reason: error.message });
    }
  }

  #onRequest(request: DhcpPacket): void {
    const { policy, clock, observe } = this.#options;
    const message = readOption(request.options, OPTIONS.messageType);
    if (!message) throw new DecodeError("DHCP packet", "options", "there is no message type (53): this is BOOTP");
    const facts = readClientFacts(request, message);
    const client = policy.classify(facts);
    observe({ kind: "request", facts, client });

    const decision = this.#responder(request, facts, client, clock.unixMs());
    this.#noteAddress(facts, decision, client);
    if (decision.kind === "ignore") {
      const { reason, cause } = decision;
      observe({ kind: "ignored", mac: request.mac, message, client, reason, ...(cause && { cause }) });
    }
    const steps = [this.#save(decision), policy.beforeReply?.(facts, client)].filter((step) => step !== undefined);
    if (steps.length === 0) {
      this.#send(decision, client);
      return;
    }
    Promise.all(steps).then(
      () => this.#send(decision, client),
      (error: Error) => observe({ kind: "failed", mac: request.mac, reason: error.message }),
    );
  }

  #save({ lease }: DhcpDecision): Promise<void> | undefined {
    if (!lease) return undefined;
    return this.#options.leaseStore?.save(lease).catch((error: Error) => {
      throw new Error(`Cannot save lease: ${error.message}`, { cause: error });
    });
  }

  #send(decision: DhcpDecision, client: DhcpClient): void {
    if (decision.kind === "ignore") return;
    const { settings, ports, observe } = this.#options;
    const { reply } = decision;
    const { peer, hardwareAddress } = replyDestination(reply, ports);
    this.#socket.send(encodePacket(reply), peer, {
      localAddress: settings.serverAddress,
      ...(hardwareAddress && { hardwareAddress }),
    });
    const message = readOption(reply.options, OPTIONS.messageType) ?? "OFFER";
    observe({
      kind: "reply",
      mac: reply.mac,
      message,
      responder: settings.mode,
      client,
      ...(reply.yourAddress !== IPV4_ANY && { address: reply.yourAddress }),
    });
  }

  /**
   * In server mode the address we give is the proof: the ACK's, and for a node the offer's, since the Pi 3B asks no
   * further. In proxy mode the client's REQUEST is all we hear.
   */
  #noteAddress(facts: DhcpClientFacts, decision: DhcpDecision, client: DhcpClient): void {
    const given = decision.kind === "reply" && (decision.lease !== undefined || client.kind === "pi");
    const heard = facts.message === "REQUEST" || facts.message === "INFORM";
    const { settings, observe } = this.#options;
    if (settings.mode === "proxy") {
      if (heard && facts.address) observe({ kind: "address-seen", mac: facts.mac, address: facts.address, client });
    } else if (given && decision.reply.yourAddress !== IPV4_ANY) {
      observe({ kind: "address-seen", mac: facts.mac, address: decision.reply.yourAddress, client });
    }
  }
}
