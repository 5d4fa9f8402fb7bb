/** What the TFTP server asks the rest of the program: which bytes stand behind a path, for this client. */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Awaitable, UdpPeer } from "../ports.ts";
import type { TransferSource } from "./transfer.ts";

export interface TftpRequest {
  /** Normalised: no leading slash, no empty parts, no `..`. */
  path: string;
  client: UdpPeer;
  /** The address of ours that was asked, where the socket can tell. */
  localAddress?: Ipv4;
}

export type TftpAnswer =
  /** Closed by the server after the transfer, also when it fails. */
  ({ kind: "file" } & TransferSource) | { kind: "missing"; reason: string } | { kind: "refused"; reason: string };

export interface TftpHandler {
  open(request: TftpRequest): Awaitable<TftpAnswer>;
}
