/**
 * A router between the Pis' network and the server's, with a DHCP relay agent: RFC 1542 section 4, RFC 1812 as far as UDP
 * needs it. Left out: option 82, ICMP, fragments, everything that is no IPv4.
 */
import {
  IPV4_BROADCAST,
  type Ipv4,
  ipv4FromBytes,
  type Mac,
  macFromBytes,
  macToBytes,
  parseMac,
} from "../../bytes/addresses.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import { BROADCAST_FLAG, type DhcpPacket, decodePacket, encodePacket } from "../../dhcp/packet.ts";
import type { Clock, EthernetPort } from "../../ports.ts";
import { decodeFrame, internetChecksum } from "../frames.ts";
import { NetworkStack } from "../network-stack.ts";

export interface RelaySide {
  port: EthernetPort;
  /** The router's own there. */
  address: Ipv4;
  netmask: Ipv4;
}

export interface RelaySettings {
  clock: Clock;
  pis: RelaySide;
  servers: RelaySide;
  /** Where DISCOVERs and REQUESTs are passed on to. */
  dhcpServer: Ipv4;
}

/** Locally administered, so nobody's. */
const MACS = { pis: parseMac("02:00:5e:00:00:03"), servers: parseMac("02:00:5e:00:00:04") };
const DHCP_SERVER_PORT = 67;
const DHCP_CLIENT_PORT = 68;
const HOPS_MAX = 16;
const IP = { at: 14, headerBytes: 20, ttlAt: 22, checksumAt: 24, destinationAt: 30 };

/** Returns how to switch it off. */
export function startRelay({ clock, pis, servers, dhcpServer }: RelaySettings): () => Promise<void> {
  const piSide = openSide(pis, MACS.pis, clock);
  const serverSide = openSide(servers, MACS.servers, clock);

  piSide.listen(DHCP_SERVER_PORT, async ({ bytes }) => {
    const request = decode(bytes);
    if (request?.op !== "request" || request.hops >= HOPS_MAX) return;
    const relayed = encodePacket({ ...request, hops: request.hops + 1, relayAddress: pis.address });
    const to = { address: dhcpServer, port: DHCP_SERVER_PORT };
    // Servers learn from the question where the answer goes.
    await serverSide.resolve(dhcpServer);
    serverSide.send({ sourcePort: DHCP_SERVER_PORT, to, bytes: relayed });
  });

  const answerPi = (frame: Uint8Array) => {
    const packet = udpTo(frame, DHCP_SERVER_PORT);
    const reply = packet && decode(packet);
    if (reply?.op !== "reply" || reply.relayAddress !== pis.address) return;
    const bytes = encodePacket(reply);
    const isBroadcast = (reply.flags & BROADCAST_FLAG) !== 0 || reply.yourAddress === "0.0.0.0";
    if (isBroadcast) piSide.sendBroadcast({ sourcePort: DHCP_SERVER_PORT, port: DHCP_CLIENT_PORT, bytes });
    else {
      const to = { address: reply.yourAddress, port: DHCP_CLIENT_PORT };
      piSide.send({ sourcePort: DHCP_SERVER_PORT, to, bytes }, reply.mac);
    }
  };

  pis.port.onFrame((frame) => {
    piSide.receive(frame);
    if (isForOthers(frame, MACS.pis, [pis.address, servers.address])) void forward(frame, serverSide, servers.port);
  });
  servers.port.onFrame((frame) => {
    serverSide.receive(frame);
    if (destinationOf(frame) === pis.address) answerPi(frame);
    else if (isForOthers(frame, MACS.servers, [servers.address])) void forward(frame, piSide, pis.port);
  });
  return async () => {
    await pis.port.close();
    await servers.port.close();
  };
}

function openSide({ port, address, netmask }: RelaySide, mac: Mac, clock: Clock): NetworkStack {
  const stack = new NetworkStack({ mac, clock, transmit: (frame) => port.send(frame) });
  stack.configure({ address, netmask });
  return stack;
}

function decode(bytes: Uint8Array): DhcpPacket | undefined {
  try {
    return decodePacket(bytes);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** The payload of a frame's datagram, if it is to this port. */
function udpTo(bytes: Uint8Array, port: number): Uint8Array | undefined {
  try {
    const frame = decodeFrame(bytes);
    return frame.kind === "udp" && frame.to.port === port ? frame.bytes : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function destinationOf(frame: Uint8Array): Ipv4 | undefined {
  const isIpv4 = frame[12] === 0x08 && frame[13] === 0x00 && frame.length >= IP.at + IP.headerBytes;
  return isIpv4 ? ipv4FromBytes(frame.subarray(IP.destinationAt, IP.destinationAt + 4)) : undefined;
}

function isForOthers(frame: Uint8Array, own: Mac, addresses: readonly Ipv4[]): boolean {
  const destination = destinationOf(frame);
  if (destination === undefined || destination === IPV4_BROADCAST) return false;
  return macFromBytes(frame.subarray(0, 6)) === own && !addresses.includes(destination);
}

async function forward(frame: Uint8Array, side: NetworkStack, port: EthernetPort): Promise<void> {
  const timeToLive = frame[IP.ttlAt]!;
  const next = timeToLive > 1 ? await side.resolve(destinationOf(frame)!) : undefined;
  if (next === undefined) return;
  const passed = frame.slice();
  passed.set(macToBytes(next), 0);
  passed.set(macToBytes(side.mac), 6);
  passed[IP.ttlAt] = timeToLive - 1;
  passed.set([0, 0], IP.checksumAt);
  const headerBytes = (frame[IP.at]! & 0x0f) * 4;
  const checksum = internetChecksum(passed.subarray(IP.at, IP.at + headerBytes));
  passed.set([checksum >>> 8, checksum & 0xff], IP.checksumAt);
  port.send(passed);
}
