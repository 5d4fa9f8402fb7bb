/**
 * The last packets between us and each node: DHCP, TFTP and netconsole. What the control process sees is kept here; each
 * worker keeps what its TFTP transfers see, and is asked for it.
 */
import { networkInterfaces } from "node:os";
import type { NodeDirectory } from "../../boot/node-directory.ts";
import { type Ipv4, type Mac, macFromBytes } from "../../bytes/addresses.ts";
import { isDhcp } from "../../cluster/packet-text.ts";
import { hasRaspberryPiOui } from "../../pi/oui.ts";
import type { Clock, UdpPeer, UdpSockets } from "../../ports.ts";
import { type CapturedPacketJson, capturedPacket } from "./captured-packet.ts";
import { PacketRings, type PacketsSince, type SeenPacket } from "./packet-rings.ts";
import { tapSockets } from "./tapped-sockets.ts";
import { TftpSample } from "./tftp-sample.ts";

export interface NodeCapturesOptions {
  directory: NodeDirectory;
  clock: Pick<Clock, "unixNs">;
  /** The manager's, on each network. */
  ownAddresses: readonly Ipv4[];
  /** What the node's worker has seen from and to these addresses. */
  ofWorker(node: string, addresses: readonly Ipv4[], after: number): Promise<PacketsSince>;
}

/** How far somebody has read. */
export interface CaptureCursor {
  manager: number;
  worker: number;
}

export const CAPTURE_START: CaptureCursor = { manager: 0, worker: 0 };

/** RFC 2131 section 2: where `chaddr` stands. */
const DHCP_MAC_AT = 28;
/** `op` */
const DHCP_REPLY = 2;
const PXE_CLIENT = Buffer.from("PXEClient");

export class NodeCaptures {
  readonly #options: NodeCapturesOptions;
  readonly #rings = new PacketRings();

  constructor(options: NodeCapturesOptions) {
    this.#options = options;
  }

  /** The same sockets, with what goes through them kept, but for the one at port `except`. */
  tap(sockets: UdpSockets, { except }: { except: number }): UdpSockets {
    const sample = new TftpSample();
    const tapped = this.#tap(sockets, sample);
    return { bind: (binding) => (binding.port !== 0 && binding.port === except ? sockets : tapped).bind(binding) };
  }

  #tap(sockets: UdpSockets, sample: TftpSample): UdpSockets {
    return tapSockets({
      sockets,
      clock: this.#options.clock,
      keptBytes: () => Number.POSITIVE_INFINITY,
      tap: {
        wants: (head, lengthBytes, peer) => sample.wants(head, lengthBytes, peer),
        take: (packet, peer) => this.#take(packet, peer),
      },
    });
  }

  /** Strangers' packets are kept while they may become a node's: a Pi's DHCP, and what comes from an unknown address. */
  #take(packet: SeenPacket, peer: UdpPeer): void {
    const { directory, ownAddresses } = this.#options;
    // Our own broadcasts come back to the socket that listens to other servers.
    if (isDhcpReply(packet.bytes) && packet.direction === "received" && ownAddresses.includes(peer.address)) return;
    const mac = packet.etherType === undefined ? dhcpMac(packet.bytes) : packet.hardwareAddress;
    if (mac === undefined) {
      this.#rings.add(directory.ownerOf(peer.address) ?? peer.address, packet);
      return;
    }
    const node = directory.byMac(mac)?.name;
    const isPi = node !== undefined || hasRaspberryPiOui(mac) || Buffer.from(packet.bytes).includes(PXE_CLIENT);
    if (isPi) this.#rings.add(node ?? mac, packet);
  }

  /** What was seen of a node since the cursor, in order, and the cursor for next time. `undefined`: no such node. */
  async since(
    name: string,
    cursor: CaptureCursor,
  ): Promise<{ packets: CapturedPacketJson[]; cursor: CaptureCursor } | undefined> {
    const { directory, ofWorker } = this.#options;
    const node = directory.byName(name);
    if (!node) return undefined;
    const mac = directory.macOf(node);
    const addresses = directory.addressesOf(node);
    const own = this.#rings.since([name, ...(mac ? [mac] : []), ...addresses], cursor.manager);
    const ofTransfers = await ofWorker(name, addresses, cursor.worker);
    const ownMacs = macsOfInterfaces();
    const packets = [...own.packets, ...ofTransfers.packets]
      .sort((one, other) => one.unixUs - other.unixUs)
      .map((packet) => {
        const ownMac = ownMacs.get((packet.direction === "sent" ? packet.from : packet.to).address);
        const peer = hasOtherSender(packet) ? undefined : (dhcpMac(packet.bytes) ?? mac);
        return capturedPacket(packet, { ...(peer && { peer }), ...(ownMac && { own: ownMac }) });
      });
    // A worker that was started again counts anew.
    return { packets, cursor: { manager: own.last, worker: ofTransfers.last } };
  }
}

/** The MAC of the client that a DHCP packet is from or for; `undefined` for anything else. */
function dhcpMac(bytes: Uint8Array): Mac | undefined {
  return isDhcp(bytes) ? macFromBytes(bytes.subarray(DHCP_MAC_AT, DHCP_MAC_AT + 6)) : undefined;
}

/** RFC 2131 section 2: `giaddr`, the relay agent's address. */
const DHCP_RELAY = [24, 28] as const;

/** A relay agent or another server sent it, and nobody has said by which hardware address. */
function hasOtherSender({ direction, bytes }: SeenPacket): boolean {
  if (direction === "sent" || !isDhcp(bytes)) return false;
  return isDhcpReply(bytes) || bytes.subarray(...DHCP_RELAY).some((byte) => byte !== 0);
}

function isDhcpReply(bytes: Uint8Array): boolean {
  return isDhcp(bytes) && bytes[0] === DHCP_REPLY;
}

function macsOfInterfaces(): Map<Ipv4, Mac> {
  const entries = Object.values(networkInterfaces()).flatMap((all = []) => all);
  return new Map(entries.map(({ address, mac }) => [address as Ipv4, mac as Mac]));
}
