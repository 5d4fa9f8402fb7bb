/**
 * Which network a relayed request is from: RFC 2131 section 4.3.1 (`giaddr`) and RFC 3527 (link selection, sub-option 5
 * of option 82, for relay agents whose own address is elsewhere).
 * Left out: the other sub-options of RFC 3046, which we only give back, and RFC 5107 (server identifier override).
 */
import { IPV4_ANY, type Ipv4, ipv4FromBytes } from "../bytes/addresses.ts";
import { Reader } from "../bytes/reader.ts";
import { OPTIONS, readOption } from "./options.ts";
import type { DhcpPacket } from "./packet.ts";

const LINK_SELECTION = 5;

/** An address of the network that the client is on, or `undefined` when no relay agent had a hand in it. Throws `DecodeError`. */
export function linkOf({ relayAddress, options }: DhcpPacket): Ipv4 | undefined {
  if (relayAddress === IPV4_ANY) return undefined;
  const information = readOption(options, OPTIONS.relayAgentInformation);
  if (!information) return relayAddress;
  const reader = new Reader(information, "DHCP option 82 (relay agent information)");
  while (reader.remainingBytes > 0) {
    const code = reader.u8("sub-option");
    const value = reader.bytes(reader.u8(`sub-option ${code} length`), `sub-option ${code}`);
    if (code === LINK_SELECTION) return ipv4FromBytes(value);
  }
  return relayAddress;
}
