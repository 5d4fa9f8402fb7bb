/**
 * The DHCP packet: RFC 2131 section 2, figure 1, with the option field of RFC 2132 and overload (RFC 2131 4.1).
 * Left out: hardware other than Ethernet, and writing overloaded packets (ours fit without).
 */
import {
  IPV4_ANY,
  type Ipv4,
  ipv4FromBytes,
  ipv4ToBytes,
  type Mac,
  macFromBytes,
  macToBytes,
} from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { DHCP_PACKET_BYTES_MAX } from "../limits.ts";
import { type DhcpOption, decodeOptions, encodeOptions, OPTIONS, printOption, readOption } from "./options.ts";

/** Names are ours; the RFC's stand behind them. */
export interface DhcpPacket {
  /** `op`: who is speaking. */
  op: "request" | "reply";
  /** `hops`: relays passed. */
  hops: number;
  /** `xid` */
  transactionId: number;
  /** `secs` since the client began. */
  elapsedS: number;
  /** `flags`; the top bit is BROADCAST_FLAG, the others are reserved. */
  flags: number;
  /** `ciaddr`: the address the client already uses. */
  clientAddress: Ipv4;
  /** `yiaddr`: the address given to the client. */
  yourAddress: Ipv4;
  /** `siaddr`: where to boot from. */
  nextServer: Ipv4;
  /** `giaddr`: the relay to answer through. */
  relayAddress: Ipv4;
  /** `chaddr` */
  mac: Mac;
  /** `sname` and `file`: empty where they hold options. */
  serverName: string;
  bootFile: string;
  options: DhcpOption[];
}

export const BROADCAST_FLAG = 0x8000;

/** Where each field of the fixed header stands: first byte, first byte after. */
const HEADER = {
  op: [0, 1],
  hardwareType: [1, 2],
  hardwareLength: [2, 3],
  hops: [3, 4],
  transactionId: [4, 8],
  elapsed: [8, 10],
  flags: [10, 12],
  clientAddress: [12, 16],
  yourAddress: [16, 20],
  nextServer: [20, 24],
  relayAddress: [24, 28],
  hardwareAddress: [28, 44],
  serverName: [44, 108],
  bootFile: [108, 236],
  cookie: [236, 240],
} as const;
type HeaderField = keyof typeof HEADER;

const FORMAT = "DHCP packet";
const OP = { request: 1, reply: 2 } as const;
const ETHERNET = { type: 1, addressBytes: 6 };
const COOKIE = 0x63825363;
/** RFC 1542 section 2.1: BOOTP relays and old clients drop anything shorter. */
const PACKET_BYTES_MIN = 300;
/** Which of the two text fields hold options, by the value of option 52. */
const OVERLOAD: Record<number, readonly ("bootFile" | "serverName")[]> = {
  1: ["bootFile"],
  2: ["serverName"],
  3: ["bootFile", "serverName"],
};

/** Throws `DecodeError` for anything that is not a DHCP packet of an Ethernet client. */
export function decodePacket(bytes: Uint8Array): DhcpPacket {
  if (bytes.length > DHCP_PACKET_BYTES_MAX) {
    throw new DecodeError(FORMAT, "length", `${bytes.length} bytes; ${DHCP_PACKET_BYTES_MAX} at most`);
  }
  const reader = new Reader(bytes, FORMAT);
  const header = reader.bytes(HEADER.cookie[1], "header");
  const field = (name: HeaderField) => header.subarray(...HEADER[name]);
  const number = (name: HeaderField) => field(name).reduce((sum, byte) => sum * 256 + byte, 0);
  const expect = (name: HeaderField, expected: number) => {
    if (number(name) !== expected) {
      throw new DecodeError(FORMAT, `${name} (byte ${HEADER[name][0]})`, `${number(name)} instead of ${expected}`);
    }
  };

  expect("cookie", COOKIE);
  expect("hardwareType", ETHERNET.type);
  expect("hardwareLength", ETHERNET.addressBytes);
  const op = number("op");
  if (op !== OP.request && op !== OP.reply) throw new DecodeError(FORMAT, "op (byte 0)", `${op} is neither 1 nor 2`);

  const options: DhcpOption[] = [];
  decodeOptions(reader, options);
  const overloaded = OVERLOAD[readOption(options, OPTIONS.overload) ?? 0] ?? [];
  for (const name of overloaded) decodeOptions(new Reader(field(name), `${FORMAT} ${name} options`), options);
  const text = (name: "serverName" | "bootFile") => (overloaded.includes(name) ? "" : textField(field(name)));

  return {
    op: op === OP.request ? "request" : "reply",
    hops: number("hops"),
    transactionId: number("transactionId"),
    elapsedS: number("elapsed"),
    flags: number("flags"),
    clientAddress: ipv4FromBytes(field("clientAddress")),
    yourAddress: ipv4FromBytes(field("yourAddress")),
    nextServer: ipv4FromBytes(field("nextServer")),
    relayAddress: ipv4FromBytes(field("relayAddress")),
    mac: macFromBytes(field("hardwareAddress").subarray(0, ETHERNET.addressBytes)),
    serverName: text("serverName"),
    bootFile: text("bootFile"),
    // What overload moved has been put back in its place.
    options: options.filter(({ code }) => code !== OPTIONS.overload.code),
  };
}

/** Options in the order given. Throws `RangeError` when they cannot fit into one datagram. */
export function encodePacket(packet: DhcpPacket): Uint8Array {
  const writer = new Writer(PACKET_BYTES_MIN + 128)
    .u8(OP[packet.op])
    .u8(ETHERNET.type)
    .u8(ETHERNET.addressBytes)
    .u8(packet.hops)
    .u32(packet.transactionId)
    .u16(packet.elapsedS)
    .u16(packet.flags)
    .bytes(ipv4ToBytes(packet.clientAddress))
    .bytes(ipv4ToBytes(packet.yourAddress))
    .bytes(ipv4ToBytes(packet.nextServer))
    .bytes(ipv4ToBytes(packet.relayAddress))
    .bytes(macToBytes(packet.mac));
  pad(writer, "hardwareAddress");
  writer.bytes(Buffer.from(packet.serverName, "latin1"));
  pad(writer, "serverName");
  writer.bytes(Buffer.from(packet.bootFile, "latin1"));
  pad(writer, "bootFile");
  writer.u32(COOKIE);
  encodeOptions(writer, packet.options);
  writer.zeros(Math.max(0, PACKET_BYTES_MIN - writer.lengthBytes));
  if (writer.lengthBytes > DHCP_PACKET_BYTES_MAX) {
    throw new RangeError(`Cannot write DHCP packet: ${writer.lengthBytes} bytes; ${DHCP_PACKET_BYTES_MAX} at most`);
  }
  return writer.finish();
}

/** A packet with everything empty but what is given. */
export function makePacket(fields: Pick<DhcpPacket, "op" | "transactionId" | "mac"> & Partial<DhcpPacket>): DhcpPacket {
  return {
    hops: 0,
    elapsedS: 0,
    flags: 0,
    clientAddress: IPV4_ANY,
    yourAddress: IPV4_ANY,
    nextServer: IPV4_ANY,
    relayAddress: IPV4_ANY,
    serverName: "",
    bootFile: "",
    options: [],
    ...fields,
  };
}

/** Several lines for people: captures, `--verbose`, test failures. */
export function printPacket(packet: DhcpPacket): string {
  const { op, mac, transactionId, flags, options } = packet;
  const xid = transactionId.toString(16).padStart(8, "0");
  const fields = (["clientAddress", "yourAddress", "nextServer", "relayAddress"] as const)
    .filter((name) => packet[name] !== IPV4_ANY)
    .map((name) => `${name} ${packet[name]}`);
  const names = (["serverName", "bootFile"] as const)
    .filter((name) => packet[name] !== "")
    .map((name) => `${name} ${JSON.stringify(packet[name])}`);
  const head = [`${op} ${mac} xid ${xid} flags ${flags.toString(16).padStart(4, "0")}`, ...fields, ...names];
  return [head.join(" · "), ...options.map((option) => `  ${printOption(option)}`)].join("\n");
}

function textField(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("latin1");
}

/** Fills up to the end of a header field that was just written. */
function pad(writer: Writer, name: HeaderField): void {
  const missing = HEADER[name][1] - writer.lengthBytes;
  if (missing < 0) throw new RangeError(`Cannot write DHCP packet ${name}: ${-missing} bytes too long`);
  writer.zeros(missing);
}
