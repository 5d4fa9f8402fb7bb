/**
 * What another DHCP server's answer holds for a Raspberry Pi that wants to boot: which of the forms that boot firmware
 * understands, or which of those that it does not. RFC 2132 (options 43, 54, 66), PXE 2.1 section 2.2.3 (inside 43).
 */
import { IPV4_ANY, type Ipv4, parseIpv4 } from "../bytes/addresses.ts";
import { type DhcpOption, type MessageType, OPTIONS, readOption } from "./options.ts";
import type { DhcpPacket } from "./packet.ts";

/**
 * `none`: neither option 43 with the menu text, nor option 66. `address`: option 66 as text, which all firmware reads.
 * `binary-address`: four bytes in option 66, which none reads. `name`: a host name there, which none resolves.
 * `menu`: option 43 with a PXE menu that has the text with its three spaces; `menu-bare`: without them, which a 3B does
 * not take; `menu-text`: the text without the PXE structure, which EEPROM boot loaders do not take.
 */
export type BootInstruction = "none" | "address" | "binary-address" | "name" | "menu" | "menu-bare" | "menu-text";

export interface OtherServerAnswer {
  message: MessageType;
  /** Option 54, else where the packet came from. */
  server: Ipv4;
  /** The address it gives. */
  address?: Ipv4;
  boot: BootInstruction;
  /** The menu has the Raspberry Pi's entry, and not as its first: EEPROM boot loaders before 2020-01-09 read the first alone. */
  isLaterEntry?: true;
  /** `siaddr`: firmware does not read it. */
  nextServer?: Ipv4;
  /** Option 67 or the `file` field: firmware does not read it. */
  bootFile?: string;
}

const MENU_TEXT = "Raspberry Pi Boot";
const SPACED_MENU_TEXT = `${MENU_TEXT}   `;
const BOOT_MENU_SUB_OPTION = 9;
const SUB_OPTIONS_END = 255;
/** Type (2 bytes), length (1 byte), text. */
const MENU_ITEM_HEAD_BYTES = 3;

/** `undefined` for what is no server's answer. Throws `DecodeError` when an option has the wrong size. */
export function readOtherServer(packet: DhcpPacket, source: Ipv4): OtherServerAnswer | undefined {
  const message = readOption(packet.options, OPTIONS.messageType);
  if (packet.op !== "reply" || message === undefined) return undefined;
  const server = readOption(packet.options, OPTIONS.serverIdentifier) ?? source;
  const bootFile = readOption(packet.options, OPTIONS.bootFileName) || packet.bootFile;
  return {
    message,
    server,
    ...bootInstruction(packet.options),
    ...(packet.yourAddress !== IPV4_ANY && { address: packet.yourAddress }),
    ...(packet.nextServer !== IPV4_ANY && { nextServer: packet.nextServer }),
    ...(bootFile !== "" && { bootFile }),
  };
}

type Instruction = Pick<OtherServerAnswer, "boot" | "isLaterEntry">;

/** Firmware that can make nothing of the menu still reads an address. */
function bootInstruction(options: readonly DhcpOption[]): Instruction {
  const server = options.find(({ code }) => code === OPTIONS.tftpServerName.code);
  const named: Instruction = { boot: server === undefined ? "none" : serverNameForm(server.value) };
  const menu = menuInstruction(options);
  const isMenuEnough = menu?.boot === "menu" && !menu.isLaterEntry;
  return menu === undefined || (named.boot === "address" && !isMenuEnough) ? named : menu;
}

function menuInstruction(options: readonly DhcpOption[]): Instruction | undefined {
  const menu = options.find(({ code }) => code === OPTIONS.vendorSpecific.code);
  const text = menu === undefined ? "" : Buffer.from(menu.value).toString("latin1");
  if (!text.includes(MENU_TEXT)) return undefined;
  const place = menuItems(menu!.value).findIndex((item) => item.includes(MENU_TEXT));
  if (place < 0) return { boot: "menu-text" };
  const boot = text.includes(SPACED_MENU_TEXT) ? "menu" : "menu-bare";
  return { boot, ...(place > 0 && { isLaterEntry: true }) };
}

function serverNameForm(value: Uint8Array): BootInstruction {
  const text = Buffer.from(value).toString("latin1");
  if (isIpv4(text)) return "address";
  return value.length === 4 ? "binary-address" : "name";
}

function isIpv4(text: string): boolean {
  try {
    parseIpv4(text);
    return true;
  } catch {
    return false;
  }
}

/** The texts of the menu; none where the bytes are no list of sub-options. */
function menuItems(value: Uint8Array): string[] {
  const items: string[] = [];
  let at = 0;
  while (at + 2 <= value.length && value[at] !== SUB_OPTIONS_END) {
    const end = at + 2 + value[at + 1]!;
    if (end > value.length) return [];
    if (value[at] === BOOT_MENU_SUB_OPTION) items.push(...itemsOf(value.subarray(at + 2, end)));
    at = end;
  }
  return items;
}

function itemsOf(menu: Uint8Array): string[] {
  const items: string[] = [];
  let at = 0;
  while (at + MENU_ITEM_HEAD_BYTES <= menu.length) {
    const end = at + MENU_ITEM_HEAD_BYTES + menu[at + 2]!;
    items.push(Buffer.from(menu.subarray(at + MENU_ITEM_HEAD_BYTES, end)).toString("latin1"));
    at = end;
  }
  return items;
}
