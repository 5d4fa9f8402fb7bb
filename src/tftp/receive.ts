import { DecodeError } from "../bytes/decode-error.ts";
import type { ReceivedDatagram, UdpSocket } from "../ports.ts";
import type { TftpObservation } from "./observation.ts";
import { decodePacket, type TftpPacket } from "./packet.ts";

/** Hands on what is a TFTP packet, and observes what is not. */
export function receivePackets(
  socket: UdpSocket,
  observe: (observation: TftpObservation) => void,
  onPacket: (packet: TftpPacket, datagram: ReceivedDatagram) => void,
): void {
  socket.onDatagram((datagram) => {
    let packet: TftpPacket;
    try {
      packet = decodePacket(datagram.bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      observe({ kind: "malformed", client: datagram.from, reason: error.message });
      return;
    }
    onPacket(packet, datagram);
  });
}
