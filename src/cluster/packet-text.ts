/**
 * DHCP, TFTP and netconsole datagrams as text for people: `bramble capture`, the golden files in test/captures.
 * What a datagram is follows from its contents, since every port can be set to another.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { type DhcpOption, OPTIONS, printOption } from "../dhcp/options.ts";
import { type DhcpPacket, decodePacket as decodeDhcp, printPacket } from "../dhcp/packet.ts";
import { decodeOption97 } from "../pi/option97.ts";
import { decodeRevision } from "../pi/revision.ts";
import type { UdpPeer } from "../ports.ts";
import { decodePacket as decodeTftp, type TftpOptions, type TftpPacket } from "../tftp/packet.ts";
import { ConsoleLines } from "./console-text.ts";

export interface ShownDatagram {
  from: UdpPeer;
  to: UdpPeer;
  /** Perhaps only the first part of it. */
  bytes: Uint8Array;
  /** Of the whole datagram. */
  lengthBytes: number;
}

/** RFC 2131 section 3: what the option field begins with, and where. */
const DHCP_COOKIE = Buffer.of(0x63, 0x82, 0x53, 0x63);
const DHCP_COOKIE_AT = 236;

export function isDhcp(bytes: Uint8Array): boolean {
  return DHCP_COOKIE.equals(bytes.subarray(DHCP_COOKIE_AT, DHCP_COOKIE_AT + DHCP_COOKIE.length));
}

/** One line, and for DHCP one more for each option. Never throws: what cannot be read is shown as the reason. */
export function datagramText(datagram: ShownDatagram): string {
  const { from, to } = datagram;
  return `${from.address}:${from.port} > ${to.address}:${to.port}  ${printable(contentText(datagram))}`;
}

/** What a sender chose must not move the terminal of whoever reads it. */
function printable(text: string): string {
  return text.replace(/[^ -~·…\n]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function contentText({ bytes, lengthBytes }: ShownDatagram): string {
  try {
    if (isDhcp(bytes)) return dhcpText(decodeDhcp(bytes));
    // No line of text begins with NUL.
    if (bytes[0] === 0) return tftpText(decodeTftp(bytes), lengthBytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return `${lengthBytes} bytes, damaged: ${error.message}`;
  }
  const lines = new ConsoleLines();
  return `console ${[...lines.take(bytes), ...lines.end()].join(" / ")}`;
}

function dhcpText(packet: DhcpPacket): string {
  const [head] = printPacket({ ...packet, options: [] }).split("\n");
  const lines = packet.options.map((option) => {
    const meaning = meaningOf(option, packet);
    return `\n    ${printOption(option)}${meaning === undefined ? "" : `  (${meaning})`}`;
  });
  return `DHCP ${head}${lines.join("")}`;
}

/** What the bytes of an option say that has a structure of its own. */
function meaningOf({ code, value }: DhcpOption, { mac }: DhcpPacket): string | undefined {
  switch (code) {
    case OPTIONS.parameterRequestList.code:
      return Array.from(value).join(" ");
    case OPTIONS.clientGuid.code: {
      const identity = decodeOption97(value, mac);
      if (!identity) return "of no Raspberry Pi";
      const { form, serial, revision, macTail } = identity;
      const board = revision === undefined ? undefined : (decodeRevision(revision)?.model?.name ?? "unknown board");
      const parts = [
        form,
        board,
        revision !== undefined && `revision ${revision.toString(16)}`,
        macTail && `MAC …:${macTail}`,
        serial && `serial ${serial}`,
      ];
      return parts.filter(Boolean).join(", ");
    }
    case OPTIONS.vendorSpecific.code:
      return pxeText(value);
    default:
      return undefined;
  }
}

const PXE_END = 255;
const PXE_SUB_OPTION = { discoveryControl: 6, bootMenu: 9, menuPrompt: 10 } as const;

/** PXE 2.1 section 2.2. Some servers send bare text, or leave the end out. */
function pxeText(value: Uint8Array): string {
  try {
    const reader = new Reader(value, "PXE options");
    const parts: string[] = [];
    while (reader.remainingBytes > 0) {
      const code = reader.u8("code");
      if (code === PXE_END) return parts.join(", ");
      parts.push(pxeSubOptionText(code, reader.bytes(reader.u8("length"), `sub-option ${code}`)));
    }
    return [...parts, "no end"].join(", ");
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return `no PXE list: ${quoted(value)}`;
  }
}

function pxeSubOptionText(code: number, value: Uint8Array): string {
  const reader = new Reader(value, "PXE sub-option");
  switch (code) {
    case PXE_SUB_OPTION.discoveryControl:
      return `discovery control ${reader.u8("flags")}`;
    case PXE_SUB_OPTION.menuPrompt:
      return `prompt after ${reader.u8("timeout")} s ${quoted(reader.rest())}`;
    case PXE_SUB_OPTION.bootMenu: {
      const items: string[] = [];
      while (reader.remainingBytes > 0) {
        items.push(`${reader.u16("type")}=${quoted(reader.bytes(reader.u8("length"), "menu text"))}`);
      }
      return `menu ${items.join(" ")}`;
    }
    default:
      return `${code}: ${Buffer.from(value).toString("hex")}`;
  }
}

function quoted(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes).toString("latin1"));
}

function tftpText(packet: TftpPacket, lengthBytes: number): string {
  switch (packet.kind) {
    case "readRequest":
    case "writeRequest": {
      const what = packet.kind === "readRequest" ? "read" : "write";
      return `TFTP ${what} ${JSON.stringify(packet.path)} ${packet.mode}${optionsText(packet.options)}`;
    }
    case "data":
      return `TFTP data block ${packet.block}, ${lengthBytes - 4} bytes`;
    case "acknowledge":
      return `TFTP acknowledge block ${packet.block}`;
    case "error":
      return `TFTP error ${packet.code} ${JSON.stringify(packet.message)}`;
    case "optionAcknowledge":
      return `TFTP option acknowledge${optionsText(packet.options)}`;
  }
}

function optionsText(options: TftpOptions): string {
  return Array.from(options, ([name, value]) => ` ${name}=${value}`).join("");
}
