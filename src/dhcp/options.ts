/**
 * DHCP options: RFC 2132, with RFC 3396 (long options), RFC 3397 (119: domain search), RFC 4578 (93, 94, 97: PXE) and
 * RFC 3046 (82: relay agent).
 * One row per option; parser, builder and printer all come from it. An option without a row is kept as bytes.
 * Left out: the meaning of what is inside options 43 (see pxe.ts), 61, 82 and 97.
 */
import { type Ipv4, ipv4FromBytes, ipv4ToBytes } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { decodeDomainNames, encodeDomainNames } from "./domain-search.ts";

/** One option as it stands on the wire, fragments already joined. */
export interface DhcpOption {
  code: number;
  value: Uint8Array;
}

interface ValueCodec<T> {
  /** `name` is the option's, for the error. */
  decode(value: Uint8Array, name: string): T;
  encode(value: T): Uint8Array;
  print(value: T): string;
}

export interface OptionRow<T> extends ValueCodec<T> {
  code: number;
  name: string;
}

export const MESSAGE_TYPES = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;
export type MessageType = keyof typeof MESSAGE_TYPES;

const MESSAGE_NAMES = new Map<number, MessageType>(
  Object.entries(MESSAGE_TYPES).map(([name, code]) => [code, name as MessageType]),
);

/** What one length byte can say; a longer value stands in several options of one code. */
const FRAGMENT_BYTES_MAX = 255;

function sizeError(name: string, value: Uint8Array, expected: string): DecodeError {
  return new DecodeError("DHCP option", name, `${value.length} bytes instead of ${expected}`);
}

/** The value of an option that is one number, big-endian. */
export function unsignedValue(value: number, sizeBytes: 1 | 2 | 4): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (value >>> (8 * (sizeBytes - 1 - i))) & 0xff);
}

/** The value of an option that is a list of addresses. */
export function addressesValue(addresses: readonly Ipv4[]): Uint8Array {
  return Buffer.concat(addresses.map(ipv4ToBytes));
}

function unsigned(sizeBytes: 1 | 2 | 4): ValueCodec<number> {
  return {
    decode(value, name) {
      if (value.length !== sizeBytes) throw sizeError(name, value, String(sizeBytes));
      return value.reduce((sum, byte) => sum * 256 + byte, 0);
    },
    encode: (value) => unsignedValue(value, sizeBytes),
    print: String,
  };
}

const raw: ValueCodec<Uint8Array> = {
  decode: (value) => value,
  encode: (value) => value,
  print: (value) =>
    Buffer.from(value)
      .toString("hex")
      .replace(/(..)(?=.)/g, "$1 "),
};

/** Given back to the client or relay as it came, so an answer must have room for it; RFC 3046, 4578 and 6842 need no more. */
const givenBack: ValueCodec<Uint8Array> = {
  ...raw,
  decode(value, name) {
    if (value.length > FRAGMENT_BYTES_MAX) throw sizeError(name, value, `at most ${FRAGMENT_BYTES_MAX}`);
    return value;
  },
};

const text: ValueCodec<string> = {
  // RFC 2132 section 2: a receiver must cope with a trailing NUL, which several clients send.
  decode: (value) => Buffer.from(value).toString("latin1").replace(/\0+$/, ""),
  encode: (value) => Buffer.from(value, "latin1"),
  print: (value) => JSON.stringify(value),
};

const address: ValueCodec<Ipv4> = {
  decode(value, name) {
    if (value.length !== 4) throw sizeError(name, value, "4");
    return ipv4FromBytes(value);
  },
  encode: ipv4ToBytes,
  print: String,
};

const addresses: ValueCodec<readonly Ipv4[]> = {
  decode(value, name) {
    if (value.length === 0 || value.length % 4 !== 0) throw sizeError(name, value, "a multiple of 4");
    return Array.from({ length: value.length / 4 }, (_, i) => ipv4FromBytes(value.subarray(4 * i, 4 * i + 4)));
  },
  encode: addressesValue,
  print: (value) => value.join(", "),
};

const domainNames: ValueCodec<readonly string[]> = {
  decode: (value, name) => decodeDomainNames(value, `DHCP option ${name}`),
  encode: encodeDomainNames,
  print: (value) => value.join(", "),
};

const messageType: ValueCodec<MessageType> = {
  decode(value, name) {
    const known = value.length === 1 ? MESSAGE_NAMES.get(value[0]!) : undefined;
    if (!known) throw new DecodeError("DHCP option", name, `${raw.print(value)} is no message type (expected 1 to 8)`);
    return known;
  },
  encode: (value) => Uint8Array.of(MESSAGE_TYPES[value]),
  print: String,
};

function row<T>(code: number, name: string, codec: ValueCodec<T>): OptionRow<T> {
  return { code, name, ...codec };
}

export const OPTIONS = {
  subnetMask: row(1, "subnet mask", address),
  routers: row(3, "routers", addresses),
  dnsServers: row(6, "DNS servers", addresses),
  hostName: row(12, "host name", text),
  domainName: row(15, "domain name", text),
  rootPath: row(17, "root path", text),
  interfaceMtu: row(26, "interface MTU", unsigned(2)),
  broadcastAddress: row(28, "broadcast address", address),
  ntpServers: row(42, "NTP servers", addresses),
  vendorSpecific: row(43, "vendor-specific information", raw),
  requestedAddress: row(50, "requested address", address),
  leaseTimeS: row(51, "lease time", unsigned(4)),
  overload: row(52, "option overload", unsigned(1)),
  messageType: row(53, "message type", messageType),
  serverIdentifier: row(54, "server identifier", address),
  parameterRequestList: row(55, "parameter request list", raw),
  message: row(56, "message", text),
  maximumMessageBytes: row(57, "maximum message size", unsigned(2)),
  renewalTimeS: row(58, "renewal time", unsigned(4)),
  rebindingTimeS: row(59, "rebinding time", unsigned(4)),
  vendorClass: row(60, "vendor class", text),
  clientIdentifier: row(61, "client identifier", givenBack),
  tftpServerName: row(66, "TFTP server name", text),
  bootFileName: row(67, "boot file name", text),
  userClass: row(77, "user class", raw),
  relayAgentInformation: row(82, "relay agent information", givenBack),
  clientArchitecture: row(93, "client architecture", raw),
  clientInterface: row(94, "client network interface", raw),
  clientGuid: row(97, "client GUID", givenBack),
  domainSearch: row(119, "domain search", domainNames),
} as const;

const ROWS = new Map<number, OptionRow<unknown>>(
  Object.values(OPTIONS).map((option) => [option.code, option as OptionRow<unknown>]),
);

const PAD = 0;
const END = 255;

/** The value of an option, or `undefined` when it is not there. Throws `DecodeError` when it has the wrong size. */
export function readOption<T>(options: readonly DhcpOption[], option: OptionRow<T>): T | undefined {
  const found = options.find(({ code }) => code === option.code);
  return found && option.decode(found.value, `${option.code} (${option.name})`);
}

export function makeOption<T>(option: OptionRow<T>, value: T): DhcpOption {
  return { code: option.code, value: option.encode(value) };
}

/** `54 server identifier: 192.0.2.1`; the bytes where the value makes no sense or the code is not known. */
export function printOption({ code, value }: DhcpOption): string {
  const option = ROWS.get(code);
  if (!option) return `${code}: ${raw.print(value)}`;
  try {
    return `${code} ${option.name}: ${option.print(option.decode(value, option.name))}`;
  } catch {
    return `${code} ${option.name}: ${raw.print(value)} (malformed)`;
  }
}

/**
 * Reads one option field up to its end option or its last byte (some firmware leaves the end option out), adding
 * to `options`. A code that appears again continues the earlier one (RFC 3396 section 7).
 */
export function decodeOptions(reader: Reader, options: DhcpOption[]): void {
  while (reader.remainingBytes > 0) {
    const code = reader.u8("option code");
    if (code === PAD) continue;
    if (code === END) return;
    const fragment = reader.bytes(reader.u8(`option ${code} length`), `option ${code}`);
    const earlier = options.find((option) => option.code === code);
    if (earlier) earlier.value = Buffer.concat([earlier.value, fragment]);
    else options.push({ code, value: fragment });
  }
}

/**
 * Writes options in the order given, then the end option. Values over 255 bytes are split (RFC 3396 section 5).
 * The relay agent's option comes last, wherever it stands in the list (RFC 3046 section 2.1).
 */
export function encodeOptions(writer: Writer, options: readonly DhcpOption[]): void {
  const relayCode = OPTIONS.relayAgentInformation.code;
  const ordered = [
    ...options.filter(({ code }) => code !== relayCode),
    ...options.filter(({ code }) => code === relayCode),
  ];
  for (const { code, value } of ordered) {
    if (code === PAD || code === END) throw new RangeError(`Cannot write option ${code}: the code is a marker`);
    let at = 0;
    do {
      const fragment = value.subarray(at, at + FRAGMENT_BYTES_MAX);
      writer.u8(code).u8(fragment.length).bytes(fragment);
      at += FRAGMENT_BYTES_MAX;
    } while (at < value.length);
  }
  writer.u8(END);
}
