/**
 * The DHCP client of Raspberry Pi boot loaders: their exact DISCOVER and REQUEST, and what they take from an answer. RFC 2131, RFC 2132; option 43 as PXE 2.1, section 2.2, writes it.
 *
 * Written apart from `dhcp/`, whose server it tests: shared code would hide shared mistakes.
 * Left out: option overload, static `CLIENT_IP`, IPv6. What a program makes of an answer is in offer-rules.ts.
 */
import { type Ipv4, ipv4FromBytes, ipv4ToBytes, type Mac, macFromBytes, macToBytes } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { DHCP_PACKET_BYTES_MAX } from "../limits.ts";
import type { DhcpDialect } from "./boot-stages.ts";
import type { MachineIdentifierForm } from "./firmware-releases.ts";
import type { VirtualBoard } from "./models.ts";

export const DHCP_CLIENT_PORT = 68;
export const DHCP_SERVER_PORT = 67;

const MESSAGE_TYPE = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6 } as const;
const MAGIC_COOKIE = 0x63825363;
const VENDOR_CLASS = "PXEClient:Arch:00000:UNDI:002001";
const BOOTP_REQUEST = 1;
const BOOTP_REPLY = 2;
const SERVER_NAME_AND_FILE_BYTES = 64 + 128;

const OPTION = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  vendorSpecific: 43,
  requestedAddress: 50,
  messageType: 53,
  serverIdentifier: 54,
  parameterRequestList: 55,
  vendorClass: 60,
  tftpServerName: 66,
  clientSystemArchitecture: 93,
  clientNetworkInterface: 94,
  clientMachineIdentifier: 97,
  end: 255,
} as const;

const PXE_BOOT_MENU = 9;
const PXE_END = 255;

/** What the ROM of the 3B says in option 97, whoever it is. */
const ROM_3B_IDENTIFIER = [0, ...new Array<number>(16).fill(0x44)];

/** Option 97: a type byte and sixteen bytes. */
export function machineIdentifier(board: VirtualBoard, identifier: MachineIdentifierForm): Uint8Array {
  if (identifier.form === "constant") return Uint8Array.from(ROM_3B_IDENTIFIER);
  const serialNumber = Number.parseInt(board.serial, 16);
  const writer = new Writer(17).u8(0);
  if (identifier.form === "serial") {
    return writer.u32LE(serialNumber).u32LE(serialNumber).u32LE(serialNumber).u32LE(serialNumber).finish();
  }
  const macTail = identifier.hasMac ? macToBytes(board.mac).subarray(2) : new Uint8Array(4);
  return writer.u32(identifier.magic).u32LE(board.model.revision).bytes(macTail).u32LE(serialNumber).finish();
}

function bootpHeader(transactionId: number, mac: Mac): Writer {
  return new Writer(322)
    .u8(BOOTP_REQUEST)
    .u8(1)
    .u8(6)
    .u8(0)
    .u32(transactionId)
    .zeros(20)
    .bytes(macToBytes(mac))
    .zeros(10)
    .zeros(SERVER_NAME_AND_FILE_BYTES)
    .u32(MAGIC_COOKIE);
}

function option(writer: Writer, code: number, value: Uint8Array | readonly number[]): Writer {
  return writer.u8(code).u8(value.length).bytes(Uint8Array.from(value));
}

type DiscoverDialect = Pick<DhcpDialect, "requestedParameters" | "identifier">;

export function encodeDiscover(transactionId: number, board: VirtualBoard, dialect: DiscoverDialect): Uint8Array {
  const writer = bootpHeader(transactionId, board.mac);
  option(writer, OPTION.messageType, [MESSAGE_TYPE.discover]);
  option(writer, OPTION.parameterRequestList, dialect.requestedParameters);
  option(writer, OPTION.clientSystemArchitecture, [0, 0]);
  option(writer, OPTION.clientNetworkInterface, [1, 2, 1]);
  option(writer, OPTION.clientMachineIdentifier, machineIdentifier(board, dialect.identifier));
  option(writer, OPTION.vendorClass, Buffer.from(VENDOR_CLASS, "ascii"));
  return writer.u8(OPTION.end).finish();
}

export interface AddressRequest {
  mac: Mac;
  address: Ipv4;
  server: Ipv4;
  /** Option 60 goes with it. */
  hasVendorClass: boolean;
  /** Options 55 and 93 go with it; absent: they do not. */
  parameters?: readonly number[];
}

/** Options 50, 54 and 60 are deduced: no capture of a REQUEST is published. */
export function encodeRequest(transactionId: number, request: AddressRequest): Uint8Array {
  const writer = bootpHeader(transactionId, request.mac);
  option(writer, OPTION.messageType, [MESSAGE_TYPE.request]);
  option(writer, OPTION.requestedAddress, ipv4ToBytes(request.address));
  option(writer, OPTION.serverIdentifier, ipv4ToBytes(request.server));
  if (request.parameters) {
    option(writer, OPTION.parameterRequestList, request.parameters);
    option(writer, OPTION.clientSystemArchitecture, [0, 0]);
  }
  if (request.hasVendorClass) option(writer, OPTION.vendorClass, Buffer.from(VENDOR_CLASS, "ascii"));
  return writer.u8(OPTION.end).finish();
}

/** What boot loaders read in an answer; all else is skipped. */
export interface DhcpAnswer {
  type: keyof typeof MESSAGE_TYPE;
  transactionId: number;
  mac: Mac;
  yourAddress: Ipv4;
  /** It came through a relay: `hops` or `giaddr` is not 0. */
  isRelayed: boolean;
  /** Option 60 begins with "PXEClient". */
  isPxe: boolean;
  netmask?: Ipv4;
  router?: Ipv4;
  serverIdentifier?: Ipv4;
  /** Options 43 and 66 in the order of the packet. */
  bootHints: BootHint[];
}

export type BootHint =
  /** Option 43: its bytes as text, and the texts of the boot menu in it. */
  | { kind: "menu"; raw: string; entries: string[] }
  /** Option 66, as it is. */
  | { kind: "server-name"; raw: string };

/** `toleratesPadding` false: what stands behind an option 0 is not read. Throws `DecodeError`. */
export function decodeDhcpAnswer(packet: Uint8Array, toleratesPadding = true): DhcpAnswer {
  const reader = new Reader(packet, "DHCP answer");
  if (packet.length > DHCP_PACKET_BYTES_MAX) throw reader.error("length", `more than ${DHCP_PACKET_BYTES_MAX} bytes`);
  const operation = reader.u8("op");
  if (operation !== BOOTP_REPLY) throw reader.error("op", `${operation} is no BOOTREPLY`);
  reader.skip(2, "hardware type, hardware length");
  const hops = reader.u8("hops");
  const transactionId = reader.u32("xid");
  reader.skip(2 + 2 + 4, "secs, flags, ciaddr");
  const yourAddress = ipv4FromBytes(reader.bytes(4, "yiaddr"));
  reader.skip(4, "siaddr");
  const relay = reader.u32("giaddr");
  const mac = macFromBytes(reader.bytes(6, "chaddr"));
  reader.skip(10 + SERVER_NAME_AND_FILE_BYTES, "sname, file");
  if (reader.u32("magic cookie") !== MAGIC_COOKIE) throw reader.error("magic cookie", "it is BOOTP without options");
  const options = decodeOptions(reader, toleratesPadding);

  const typeCode = options.get(OPTION.messageType)?.[0];
  const type = (Object.keys(MESSAGE_TYPE) as DhcpAnswer["type"][]).find((name) => MESSAGE_TYPE[name] === typeCode);
  if (type === undefined) throw reader.error("option 53", `unknown message type ${typeCode}`);
  const netmask = addressOption(options, OPTION.subnetMask);
  const router = addressOption(options, OPTION.router);
  const serverIdentifier = addressOption(options, OPTION.serverIdentifier);
  return {
    type,
    transactionId,
    mac,
    yourAddress,
    isRelayed: hops !== 0 || relay !== 0,
    isPxe: Buffer.from(options.get(OPTION.vendorClass) ?? [])
      .toString("latin1")
      .startsWith("PXEClient"),
    ...(netmask && { netmask }),
    ...(router && { router }),
    ...(serverIdentifier && { serverIdentifier }),
    bootHints: [...options].flatMap(([code, value]) => bootHint(code, value) ?? []),
  };
}

/** In the order of the packet: the boot ROM goes by it. */
function decodeOptions(reader: Reader, toleratesPadding: boolean): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  while (reader.remainingBytes > 0) {
    const code = reader.u8("option code");
    if (code === OPTION.end || (code === OPTION.pad && !toleratesPadding)) break;
    if (code === OPTION.pad) continue;
    options.set(code, reader.bytes(reader.u8(`option ${code} length`), `option ${code}`));
  }
  return options;
}

/** The first address of a list of addresses. */
function addressOption(options: Map<number, Uint8Array>, code: number): Ipv4 | undefined {
  const value = options.get(code);
  return value !== undefined && value.length >= 4 ? ipv4FromBytes(value.subarray(0, 4)) : undefined;
}

function bootHint(code: number, value: Uint8Array): BootHint | undefined {
  const raw = Buffer.from(value).toString("latin1");
  if (code === OPTION.vendorSpecific) return { kind: "menu", raw, entries: decodeBootMenu(value) };
  return code === OPTION.tftpServerName ? { kind: "server-name", raw } : undefined;
}

/** PXE sub-option 9: entries of a 16-bit type, a length and a text. A broken list has no entries. */
function decodeBootMenu(list: Uint8Array): string[] {
  const texts: string[] = [];
  try {
    const reader = new Reader(list, "option 43");
    while (reader.remainingBytes > 0) {
      const code = reader.u8("code");
      if (code === PXE_END) break;
      const value = new Reader(reader.bytes(reader.u8("length"), "value"), "option 43 menu");
      while (code === PXE_BOOT_MENU && value.remainingBytes > 0) {
        value.skip(2, "type");
        texts.push(Buffer.from(value.bytes(value.u8("length"), "text")).toString("latin1"));
      }
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  return texts;
}
