import { DecodeError } from "../bytes/decode-error.ts";
import type { UdpPeer } from "../ports.ts";
import type { TftpObservation } from "./observation.ts";
import { decodePacket, type TftpPacket } from "./packet.ts";

/** What is no TFTP packet is observed, and gives `undefined`. */
export function readPacket(
  bytes: Uint8Array,
  client: UdpPeer,
  observe: (observation: TftpObservation) => void,
): TftpPacket | undefined {
  try {
    return decodePacket(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    observe({ kind: "malformed", client, reason: error.message });
    return undefined;
  }
}
