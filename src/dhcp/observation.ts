/** What the DHCP server tells about its work. */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { UdpPeer } from "../ports.ts";
import type { MessageType } from "./options.ts";
import type { DhcpClient, DhcpClientFacts, IgnoreCause } from "./policy.ts";

export type DhcpObservation =
  | { kind: "request"; facts: DhcpClientFacts; client: DhcpClient }
  | {
      kind: "reply";
      mac: Mac;
      message: MessageType;
      responder: "proxy" | "server";
      client: DhcpClient;
      /** The address given; none in proxy mode. */
      address?: Ipv4;
    }
  | { kind: "ignored"; mac: Mac; message: MessageType; client: DhcpClient; reason: string; cause?: IgnoreCause }
  /**
   * A client uses this address, or is about to: we gave it, or its REQUEST to another server was broadcast. The only
   * way in proxy mode to know who an address is.
   */
  | { kind: "address-seen"; mac: Mac; address: Ipv4; client: DhcpClient }
  /** Somebody has the address that was to be offered to `mac`, and did not get it from us. */
  | { kind: "address-conflict"; mac: Mac; address: Ipv4; holder: Mac; client: DhcpClient }
  /** Not a DHCP request, or a damaged one. */
  | { kind: "malformed"; from: UdpPeer; reason: string }
  /** We could not answer, and it was not the client's fault: the lease could not be saved, for one. */
  | { kind: "failed"; mac: Mac; reason: string };
