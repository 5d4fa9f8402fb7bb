/** Where an answer goes: RFC 2131 section 4.1, the last three paragraphs. */
import { IPV4_ANY, IPV4_BROADCAST, type Mac } from "../bytes/addresses.ts";
import type { UdpPeer } from "../ports.ts";
import { OPTIONS, readOption } from "./options.ts";
import { BROADCAST_FLAG, type DhcpPacket } from "./packet.ts";

export interface DhcpPorts {
  server: number;
  client: number;
}

export const DHCP_PORTS: DhcpPorts = { server: 67, client: 68 };

export interface ReplyDestination {
  peer: UdpPeer;
  /** The client has no address yet that ARP could find: send the frame to this one. */
  hardwareAddress?: Mac;
}

export function replyDestination(reply: DhcpPacket, ports: DhcpPorts): ReplyDestination {
  if (reply.relayAddress !== IPV4_ANY) return { peer: { address: reply.relayAddress, port: ports.server } };
  const broadcast: ReplyDestination = { peer: { address: IPV4_BROADCAST, port: ports.client } };
  if (readOption(reply.options, OPTIONS.messageType) === "NAK") return broadcast;
  if (reply.clientAddress !== IPV4_ANY) return { peer: { address: reply.clientAddress, port: ports.client } };
  if ((reply.flags & BROADCAST_FLAG) !== 0 || reply.yourAddress === IPV4_ANY) return broadcast;
  return { peer: { address: reply.yourAddress, port: ports.client }, hardwareAddress: reply.mac };
}
