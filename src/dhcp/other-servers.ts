/**
 * What other DHCP servers on a network answer, as far as it is broadcast: their OFFERs, ACKs and NAKs to port 68. Many
 * servers send frames to the client alone, which a switch does not bring here. Nothing is sent.
 */
import { IPV4_BROADCAST, type Ipv4, type Mac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { ReceivedDatagram, UdpSockets } from "../ports.ts";
import { type OtherServerAnswer, readOtherServer } from "./other-server.ts";
import { decodePacket } from "./packet.ts";

export interface OtherServersOptions {
  sockets: UdpSockets;
  interfaceName?: string;
  /** Ours come back to us. */
  ownAddress: Ipv4;
  /** Where clients listen; 68. */
  port: number;
  /** `mac`: the client that is answered. */
  onAnswer(mac: Mac, answer: OtherServerAnswer): void;
}

/** Rejects with the operating system's error when a program here has the port for itself. Returns how to stop. */
export async function listenToOtherServers(options: OtherServersOptions): Promise<() => void> {
  const { sockets, interfaceName, port } = options;
  const socket = await sockets.bind({
    // Hears nothing but broadcasts: what is sent to this machine's own DHCP client stays that client's.
    address: IPV4_BROADCAST,
    port,
    shared: true,
    ...(interfaceName !== undefined && { interfaceName }),
  });
  socket.onDatagram((datagram) => onDatagram(datagram, options));
  return () => socket.close();
}

function onDatagram({ bytes, from }: ReceivedDatagram, { ownAddress, onAnswer }: OtherServersOptions): void {
  try {
    const packet = decodePacket(bytes);
    const answer = readOtherServer(packet, from.address);
    if (answer && answer.server !== ownAddress && from.address !== ownAddress) onAnswer(packet.mac, answer);
  } catch (error) {
    // Whoever it is for will find it damaged as well.
    if (!(error instanceof DecodeError)) throw error;
  }
}
