/**
 * The DHCP service: datagram → packet → responder → packet → datagram, and an observation for each step. A lease is
 * saved before the answer that promises it is sent. There is a socket for each interface.
 */
import { IPV4_ANY, type Mac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { AddressProbe, Awaitable, Clock, ReceivedDatagram, UdpSocket, UdpSockets } from "../ports.ts";
import { ConflictCheck } from "./conflict-check.ts";
import { leaseResponders } from "./lease.ts";
import type { DhcpObservation } from "./observation.ts";
import { type MessageType, OPTIONS, readOption } from "./options.ts";
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
import { NUDGE_ETHER_TYPE, NUDGE_PAYLOAD, ReplyTiming } from "./reply-timing.ts";

/** Addresses that others have are passed over, so many for one DISCOVER: the client asks again before more are tried. */
const CONFLICTS_MAX = 4;

/** What is served on one interface. */
export interface DhcpNetwork {
  settings: DhcpSettings;
  interfaceName?: string;
  /** Server mode only: asks who has an address before it is offered. */
  probe?: AddressProbe;
}

export interface DhcpServerOptions extends DhcpNetwork {
  sockets: UdpSockets;
  clock: Pick<Clock, "unixMs" | "monotonicMs" | "after">;
  policy: DhcpPolicy;
  /** Other interfaces, each with an `interfaceName`. */
  others?: readonly DhcpNetwork[];
  /** Server mode only. Without it leases are forgotten at the end of the process. */
  leaseStore?: LeaseStore;
  observe(observation: DhcpObservation): void;
  ports?: DhcpPorts;
}

export interface DhcpServer {
  readonly localPort: number;
  close(): void;
}

/** Rejects with the operating system's error when a port cannot be had, or the lease store's. */
export async function startDhcpServer(options: DhcpServerOptions): Promise<DhcpServer> {
  const { sockets, others = [], ports = DHCP_PORTS } = options;
  const networks: readonly DhcpNetwork[] = [options, ...others];
  const responders = await respondersFor(networks, options);
  const open: UdpSocket[] = [];
  const timing = new ReplyTiming(options.clock);
  const close = () => {
    timing.close();
    for (const socket of open) socket.close();
    for (const { probe } of networks) probe?.close();
  };
  try {
    for (const [index, { settings, interfaceName, probe }] of networks.entries()) {
      const socket = await sockets.bind({
        // Not the server's own address: a socket bound to one address hears no broadcasts.
        address: IPV4_ANY,
        port: ports.server,
        broadcast: true,
        ...(interfaceName !== undefined && { interfaceName }),
      });
      open.push(socket);
      const conflicts = probe && new ConflictCheck(probe, options.clock);
      const service = new DhcpService(socket, responders[index]!, { ...options, settings, ports, timing, conflicts });
      socket.onDatagram((datagram) => service.onDatagram(datagram));
    }
  } catch (error) {
    close();
    throw error;
  }
  return { localPort: open[0]!.localPort, close };
}

/** In the order of the networks. */
async function respondersFor(
  networks: readonly DhcpNetwork[],
  { policy, leaseStore }: DhcpServerOptions,
): Promise<DhcpResponder[]> {
  const servers = networks.map(({ settings }) => settings).filter((settings) => settings.mode === "server");
  const saved = servers.length > 0 ? ((await leaseStore?.load()) ?? []) : [];
  const leasing = leaseResponders(servers, policy, saved);
  const responderOf = (settings: DhcpSettings): DhcpResponder => {
    switch (settings.mode) {
      case "server":
        return leasing[servers.indexOf(settings)]!;
      case "proxy":
        return proxyResponder(settings);
      case "external":
        return () => ({ kind: "ignore" });
    }
  };
  return networks.map(({ settings }) => responderOf(settings));
}

type ServiceOptions = DhcpServerOptions & {
  ports: DhcpPorts;
  timing: ReplyTiming;
  conflicts: ConflictCheck | undefined;
};

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

    const decision = this.#withoutConflict(
      this.#responder(request, facts, client, clock.unixMs()),
      client,
      CONFLICTS_MAX,
    );
    if (decision instanceof Promise) void decision.then((decided) => this.#carryOut(decided, facts, client));
    else this.#carryOut(decision, facts, client);
  }

  /** What the responder decides when it has heard who has the addresses that it would have offered. */
  #withoutConflict(decision: DhcpDecision, client: DhcpClient, triesLeft: number): Awaitable<DhcpDecision> {
    const check = decision.kind === "reply" ? decision.check : undefined;
    const { conflicts } = this.#options;
    if (decision.kind !== "reply" || !check || !conflicts) return decision;
    const { mac } = decision.reply;
    const decide = (holder: Mac | undefined): Awaitable<DhcpDecision> => {
      if (holder === undefined || holder === mac) return decision;
      this.#options.observe({ kind: "address-conflict", address: check.address, mac, holder, client });
      if (check.isReserved) return decision;
      const next = check.inUse(holder, this.#options.clock.unixMs());
      if (triesLeft > 1) return this.#withoutConflict(next, client, triesLeft - 1);
      return { kind: "ignore", reason: "the addresses tried for it are in use by others", cause: "address-in-use" };
    };
    const holder = conflicts.holderOf(check.address);
    if (!(holder instanceof Promise)) return decide(holder);
    const decided = holder.then(decide);
    // The board it is reserved for is not kept waiting: it gets it, whoever else has it.
    return check.isReserved ? decision : decided;
  }

  #carryOut(decision: DhcpDecision, facts: DhcpClientFacts, client: DhcpClient): void {
    const { policy, observe, settings } = this.#options;
    const { mac, message } = facts;
    this.#noteAddress(facts, decision, client);
    if (decision.kind === "ignore" && decision.reason !== undefined) {
      const { reason, cause } = decision;
      observe({ kind: "ignored", mac, message, client, reason, ...(cause && { cause }) });
    }
    // Where DHCP is another's, a node's boot begins with its first file.
    const preparation = settings.mode === "external" ? undefined : policy.beforeReply?.(facts, client);
    const steps = [this.#save(decision), preparation].filter((step) => step !== undefined);
    if (steps.length === 0) {
      this.#send(decision, client);
      return;
    }
    Promise.all(steps).then(
      () => this.#send(decision, client),
      (error: Error) => observe({ kind: "failed", mac, reason: error.message }),
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
    const { settings, observe } = this.#options;
    const { reply } = decision;
    const message = readOption(reply.options, OPTIONS.messageType) ?? "OFFER";
    if (!this.#transmit(reply, message, client)) {
      const reason = "too many boot ROMs ask at once; it is answered when it asks again";
      observe({ kind: "ignored", mac: reply.mac, message: "DISCOVER", client, reason });
      return;
    }
    observe({
      kind: "reply",
      mac: reply.mac,
      message,
      responder: settings.mode === "server" ? "server" : "proxy",
      client,
      ...(reply.yourAddress !== IPV4_ANY && { address: reply.yourAddress }),
    });
  }

  /** False when it is not its turn before its try is over. */
  #transmit(reply: DhcpPacket, message: MessageType, client: DhcpClient): boolean {
    const { settings, ports, timing } = this.#options;
    const needs = client.kind === "pi" && message === "OFFER" ? client.needs : undefined;
    const { mac } = reply;
    const { peer, hardwareAddress } = replyDestination(reply, ports);
    // Firmware that drops what comes through a relay gets nothing out of a frame to another network either.
    const frameTo = needs?.toMacOnly && reply.relayAddress === IPV4_ANY ? mac : hardwareAddress;
    const localAddress = settings.serverAddress;
    const bytes = encodePacket(reply);
    const send = () => this.#socket.send(bytes, peer, { localAddress, ...(frameTo && { hardwareAddress: frameTo }) });
    if (!needs) {
      send();
      return true;
    }
    const frame = { hardwareAddress: mac, etherType: NUDGE_ETHER_TYPE, payload: NUDGE_PAYLOAD, localAddress };
    return timing.offer({ mac, needs, send, nudge: () => this.#socket.sendFrame?.(frame) ?? false });
  }

  /**
   * In server mode the address we give is the proof: the ACK's, and for a node the offer's, since the Pi 3B asks no
   * further. Where another server gives it, the client's REQUEST is all we hear.
   */
  #noteAddress(facts: DhcpClientFacts, decision: DhcpDecision, client: DhcpClient): void {
    const given = decision.kind === "reply" && (decision.lease !== undefined || client.kind === "pi");
    const heard = facts.message === "REQUEST" || facts.message === "INFORM";
    const { settings, observe } = this.#options;
    if (settings.mode !== "server") {
      if (heard && facts.address) observe({ kind: "address-seen", mac: facts.mac, address: facts.address, client });
    } else if (given && decision.reply.yourAddress !== IPV4_ANY) {
      observe({ kind: "address-seen", mac: facts.mac, address: decision.reply.yourAddress, client });
    }
  }
}
