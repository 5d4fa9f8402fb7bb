/**
 * proxyDHCP: PXE 2.1 specification, section 2.2.3. The router gives the address; this answer, without one, says where
 * to boot from. Byte for byte what dnsmasq sends, with `siaddr`, three spaces in the menu text, and for firmware that
 * wants it option 66 added.
 * Left out: the second exchange on port 4011, which no Raspberry Pi makes.
 */
import { makeOption, OPTIONS } from "./options.ts";
import { BROADCAST_FLAG, makePacket } from "./packet.ts";
import type { DhcpProxySettings, DhcpResponder } from "./policy.ts";
import { pxeOptions, whyNotFirmware } from "./pxe.ts";

export function proxyResponder({ serverAddress }: DhcpProxySettings): DhcpResponder {
  return (request, facts, client) => {
    // The REQUEST names the router in option 54; a second answer to it would break the exchange.
    if (facts.message !== "DISCOVER") return { kind: "ignore" };
    if (client.kind === "other") return { kind: "ignore", reason: "not a Raspberry Pi" };
    if (client.kind === "unknown-pi") return { kind: "ignore", reason: "no node has this address or serial number" };
    const reason = whyNotFirmware(request.options);
    if (reason !== undefined) return { kind: "ignore", reason, cause: "not-network-boot" };

    const reply = makePacket({
      op: "reply",
      transactionId: request.transactionId,
      mac: request.mac,
      // The client has no address to send to yet, and we give it none.
      flags: request.flags | BROADCAST_FLAG,
      nextServer: serverAddress,
      relayAddress: request.relayAddress,
      options: [
        makeOption(OPTIONS.messageType, "OFFER"),
        makeOption(OPTIONS.serverIdentifier, serverAddress),
        ...pxeOptions(request, serverAddress, client.needs),
      ],
    });
    return { kind: "reply", reply };
  };
}
