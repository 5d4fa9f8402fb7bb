/**
 * proxyDHCP: PXE 2.1 specification, section 2.2.3. The router gives the address; this answer, without one, says where
 * to boot from. Byte for byte what dnsmasq sends, with option 66 and `siaddr` added.
 * Left out: the second exchange on port 4011, which no Raspberry Pi makes.
 */
import { makeOption, OPTIONS } from "./options.ts";
import { BROADCAST_FLAG, makePacket } from "./packet.ts";
import type { DhcpProxySettings, DhcpResponder } from "./policy.ts";
import { isPxeRequest, pxeOptions } from "./pxe.ts";

export function proxyResponder({ serverAddress }: DhcpProxySettings): DhcpResponder {
  return (request, facts, client) => {
    if (facts.message !== "DISCOVER") {
      // The REQUEST names the router in option 54; a second answer to it would break the exchange.
      return { kind: "ignore", reason: "only a DISCOVER is answered in proxy mode" };
    }
    if (client.kind === "other") return { kind: "ignore", reason: "not a Raspberry Pi" };
    if (client.kind === "unknown-pi") return { kind: "ignore", reason: "no node has this address or serial number" };
    if (!isPxeRequest(request.options))
      return { kind: "ignore", reason: "not a network boot request", cause: "not-network-boot" };

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
        ...pxeOptions(request.options, serverAddress),
      ],
    });
    return { kind: "reply", reply };
  };
}
