/**
 * What the DHCP responders ask the rest of the program, and the settings they run with. Who is a Raspberry Pi, and
 * which node of the manifest, is not known here.
 */
import { IPV4_ANY, type Ipv4, type Mac } from "../bytes/addresses.ts";
import { type DhcpOption, type MessageType, OPTIONS, readOption } from "./options.ts";
import type { DhcpPacket } from "./packet.ts";
import type { FirmwareNeeds } from "./reply-timing.ts";

/** What a request says about its sender. */
export interface DhcpClientFacts {
  mac: Mac;
  message: MessageType;
  /** Option 60. */
  vendorClass?: string;
  /** Option 97: the type byte and 16 bytes. */
  guid?: Uint8Array;
  /** Option 12. */
  hostName?: string;
  /** Option 50, else the address it uses (`ciaddr`). */
  address?: Ipv4;
  /** Option 54: the server it means. */
  server?: Ipv4;
  /** Option 55. */
  parameters?: Uint8Array;
  /** `giaddr`: the relay agent it came through. */
  relay?: Ipv4;
}

export type DhcpClient =
  /** A node of the manifest, to be booted. */
  | { kind: "pi"; node: string; reservedAddress?: Ipv4; needs?: FirmwareNeeds }
  /** A Raspberry Pi that no node names: gets an address in server mode, and is never booted. */
  | { kind: "unknown-pi" }
  | { kind: "other" };

export interface DhcpPolicy {
  /** Called once for each request. */
  classify(facts: DhcpClientFacts): DhcpClient;
  /** Whether the address is kept for one node, so that nobody else is given it. */
  isReserved(address: Ipv4): boolean;
  /**
   * Whether a node has this hardware address. Its lease does not end while that is so: a kernel that got the address
   * of its root file system by DHCP (`ip=dhcp`) never renews it, and goes on using it for as long as it runs.
   */
  isNode(mac: Mac): boolean;
  /**
   * What must be done before a client that asks to boot is answered. When it rejects, the client gets no answer, and
   * asks again.
   */
  beforeReply?(facts: DhcpClientFacts, client: DhcpClient): Promise<void> | undefined;
}

interface CommonSettings {
  /** Ours on this network. Answers come from it, and it is the boot server (options 54 and 66, `siaddr`). */
  serverAddress: Ipv4;
}

/** Somebody else gives the addresses; we add where to boot from. */
export interface DhcpProxySettings extends CommonSettings {
  mode: "proxy";
}

/** Both ends included. */
export interface AddressRange {
  first: Ipv4;
  last: Ipv4;
}

/** One network on which we give addresses. */
export interface DhcpSubnet {
  /** Ours, as its clients reach it. */
  serverAddress: Ipv4;
  /** Any address of the network; `serverAddress` when absent, for we are on it. */
  network?: Ipv4;
  subnetMask: Ipv4;
  routers: readonly Ipv4[];
  dnsServers: readonly Ipv4[];
  domainName?: string;
  /** Sent to clients that ask for them, as `extraOptions` are. */
  ntpServers?: readonly Ipv4[];
  searchDomains?: readonly string[];
  mtuBytes?: number;
  extraOptions?: readonly DhcpOption[];
  /** For all but nodes, whose leases have no end. */
  leaseTimeS: number;
  /** Addresses for clients without a reservation. Without it they get none. */
  range?: AddressRange;
  /** Addresses of the range that are never given. */
  excluded?: readonly AddressRange[];
  /** Addresses of clients that are no nodes. */
  reservations?: ReadonlyMap<Mac, Ipv4>;
}

/** The network of an interface, and others that are reached through relay agents. */
export interface DhcpServerSettings extends DhcpSubnet {
  mode: "server";
  relayed?: readonly DhcpSubnet[];
}

/** Somebody else does all of it: we listen, to know who has which address, and never answer. */
export interface DhcpExternalSettings extends CommonSettings {
  mode: "external";
}

export type DhcpSettings = DhcpProxySettings | DhcpServerSettings | DhcpExternalSettings;

/** One address held by one client. Saved by the `LeaseStore` before it is promised. */
export interface Lease {
  mac: Mac;
  address: Ipv4;
  /**
   * When it ends; kept longer, so that a client that comes back gets the same address. For a node this counts only
   * from when it has left the manifest.
   */
  expiresUnixMs: number;
  /** `offered` is saved for firmware alone, which may boot on the bare offer; `declined`: somebody else is at the address. */
  state: "offered" | "bound" | "released" | "declined";
  hostName?: string;
  /** The node it was given to: a board that takes the place of another gets that one's address. */
  node?: string;
}

export interface LeaseStore {
  /** All leases saved and not replaced. One lease for an address; the later one counts. */
  load(): Promise<Lease[]>;
  /** Resolves when the lease survives a power cut. Replaces what was saved for the address. */
  save(lease: Lease): Promise<void>;
}

/** Why a request gets no answer, for programs; only what may keep a client from its address. */
export type IgnoreCause =
  | "range-used-up"
  | "nothing-set-aside"
  | "other-server"
  | "declined"
  | "address-in-use"
  | "not-network-boot"
  | "unknown-relay";

/** What to do about one request. Without a reason, nothing is told of it. */
export type DhcpDecision =
  | { kind: "reply"; reply: DhcpPacket; lease?: Lease; check?: AddressCheck }
  | { kind: "ignore"; reason?: string; cause?: IgnoreCause; lease?: Lease };

/** An offered address that somebody may be using without having asked us. */
export interface AddressCheck {
  address: Ipv4;
  /** It is the client's by the manifest: the answer need not wait, but whoever has it is worth a warning. */
  isReserved: boolean;
  /** Decides anew: `holder` has the address. */
  inUse(holder: Mac, unixMs: number): DhcpDecision;
}

/** Pure but for the table of leases: no clock, no socket, no file. */
export type DhcpResponder = (
  request: DhcpPacket,
  facts: DhcpClientFacts,
  client: DhcpClient,
  unixMs: number,
) => DhcpDecision;

/** Throws `DecodeError` when the packet has no message type, or an option of the wrong size. */
export function readClientFacts(packet: DhcpPacket, message: MessageType): DhcpClientFacts {
  const vendorClass = readOption(packet.options, OPTIONS.vendorClass);
  const guid = readOption(packet.options, OPTIONS.clientGuid);
  const hostName = readOption(packet.options, OPTIONS.hostName);
  const requested = readOption(packet.options, OPTIONS.requestedAddress);
  const server = readOption(packet.options, OPTIONS.serverIdentifier);
  const parameters = readOption(packet.options, OPTIONS.parameterRequestList);
  const address = requested ?? (packet.clientAddress === IPV4_ANY ? undefined : packet.clientAddress);
  return {
    mac: packet.mac,
    message,
    ...(vendorClass !== undefined && { vendorClass }),
    ...(guid && { guid }),
    ...(hostName !== undefined && { hostName }),
    ...(address && { address }),
    ...(server && { server }),
    ...(parameters && { parameters }),
    ...(packet.relayAddress !== IPV4_ANY && { relay: packet.relayAddress }),
  };
}
